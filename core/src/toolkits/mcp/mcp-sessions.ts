/**
 * A toolkit's sessions: one for each run and account, kept while calls follow on one another. So a step's ten calls greet
 * the server once, a server may remember what a run did before, and nothing it remembers reaches another visitor. A session
 * in which something went wrong takes no more calls. Whatever is left ends by itself soon after its last call.
 */
import { McpHttpError, McpNotOpened } from "./mcp-failure.ts";
import type { McpSession } from "./mcp-session.ts";
import { unlessAborted } from "./unless-aborted.ts";

export interface McpSessions {
  /** `isKept`: the session has answered before, and may have been ended by the server since. */
  use<T>(
    key: string,
    open: (signal: AbortSignal) => Promise<McpSession>,
    signal: AbortSignal,
    call: (session: McpSession) => Promise<T>,
  ): Promise<T>;
  /** How many are open or being opened. */
  count(): number;
  close(): Promise<void>;
}

interface Kept {
  opening: Promise<McpSession>;
  users: number;
  idle: NodeJS.Timeout | null;
}

export function createSessions(options: { idleMs: number; openMs: number }): McpSessions {
  const kept = new Map<string, Kept>();
  const all = new Set<Kept>();

  function take(key: string, open: (signal: AbortSignal) => Promise<McpSession>): { entry: Kept; isKept: boolean } {
    const known = kept.get(key);
    const entry = known ?? { opening: open(AbortSignal.timeout(options.openMs)), users: 0, idle: null };
    if (!known) {
      kept.set(key, entry);
      all.add(entry);
      entry.opening.catch(() => {
        retire(key, entry);
        all.delete(entry);
      });
    }
    if (entry.idle) clearTimeout(entry.idle);
    entry.idle = null;
    entry.users++;
    return { entry, isKept: known !== undefined };
  }

  function retire(key: string, entry: Kept): void {
    if (kept.get(key) === entry) kept.delete(key);
  }

  async function end(entry: Kept): Promise<void> {
    if (entry.idle) clearTimeout(entry.idle);
    await entry.opening.then(
      (session) => session.close(),
      () => {},
    );
    all.delete(entry);
  }

  function giveBack(key: string, entry: Kept, isGood: boolean): void {
    entry.users--;
    if (!isGood) retire(key, entry);
    if (entry.users > 0) return;
    if (kept.get(key) !== entry) return void end(entry);
    entry.idle = setTimeout(() => {
      retire(key, entry);
      void end(entry);
    }, options.idleMs);
    entry.idle.unref();
  }

  return {
    async use(key, open, signal, call) {
      for (;;) {
        const { entry, isKept } = take(key, open);
        let isGood = false;
        try {
          const session = await unlessAborted(entry.opening, signal).catch((error: unknown) => {
            throw error instanceof McpNotOpened ? error : new McpNotOpened(error);
          });
          try {
            return await call(session);
          } finally {
            isGood = session.isGood();
          }
        } catch (error) {
          // Refused before it was read, so it may be sent again: once, for the next one is new.
          if (!isKept || !isSessionGone(error)) throw error;
        } finally {
          giveBack(key, entry, isGood);
        }
      }
    },
    count: () => all.size,
    async close() {
      kept.clear();
      await Promise.all([...all].map(end));
    },
  };
}

/** 404 by the protocol; some servers, the SDK's examples among them, answer 400 and say so. */
function isSessionGone(error: unknown): boolean {
  if (!(error instanceof McpHttpError)) return false;
  return error.status === 404 || (error.status === 400 && /session/i.test(error.message));
}
