import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import { repeat } from "../repeat.ts";
import { isOriginAllowed } from "../sites/origin.ts";
import { VISITOR_TOKEN_SECONDS, type VerifiedVisitor } from "./visitor-token.ts";

/** How late a server hears of a revocation that the bus did not bring. */
const EVERY_MS = 2_000;
/** After that no token is left that it speaks of. */
const KEPT_MS = (VISITOR_TOKEN_SECONDS + 300) * 1_000;
const FORGET_EVERY_MS = 60_000;

/** What this server knows of visitors' credentials that ended before their time. */
export interface Revocations {
  /** Asks nobody: this is on the way of every request. */
  isRevoked(visitor: VerifiedVisitor): boolean;
  /** Asks Postgres now; resolves once what was committed before is known. */
  refresh(): Promise<void>;
  /** Called when something new is known. */
  onChange(listener: () => void): () => void;
  stop(): Promise<void>;
}

interface Known {
  /** Ms since the epoch: what was issued until then is void. */
  at: number;
  /** Of a site: where its pages may be now; none when it is gone. */
  allowedOrigins: string[] | null;
}

const since = statement<{
  kind: "visitor" | "session" | "site" | null;
  subject: string;
  at: Date;
  allowed_origins: string[] | null;
  next: string | null;
}>("revocations_since", "select kind, subject, at, allowed_origins, next::text from revocations_since($1::text::xid8)");

/**
 * Follows what is revoked, in all tenants. The table is the truth: it is asked every 2 s for what is new; a message on the
 * bus only makes it at once. Rejects when it cannot be read the first time: a server must not begin without.
 */
export async function watchRevocations(services: Pick<Services, "db" | "bus" | "log" | "clock">): Promise<Revocations> {
  const { db, bus, log, clock } = services;
  const known = new Map<string, Known>();
  const listeners = new Set<() => void>();
  let cursor = "0";
  let forgotAt = clock();
  let current: Promise<void> | null = null;
  let following: Promise<void> | null = null;

  async function read(): Promise<void> {
    const rows = await db.query(since, [cursor]);
    let isChanged = false;
    for (const { kind, subject, at, allowed_origins: allowedOrigins, next } of rows) {
      if (kind === null) {
        cursor = next ?? cursor;
        continue;
      }
      const id = idOf(kind, subject);
      const before = known.get(id);
      if (before && before.at === at.getTime() && before.allowedOrigins?.join() === allowedOrigins?.join()) continue;
      known.set(id, { at: at.getTime(), allowedOrigins });
      isChanged = true;
    }
    forget();
    if (isChanged) for (const listener of listeners) listener();
  }

  function forget(): void {
    const now = clock();
    if (now - forgotAt < FORGET_EVERY_MS) return;
    forgotAt = now;
    for (const [id, { at }] of known) if (now - at > KEPT_MS) known.delete(id);
  }

  /** One look at a time; whoever asks meanwhile gets one that began after they asked. */
  function refresh(): Promise<void> {
    if (!current) return (current = read().finally(() => (current = null)));
    return (following ??= current
      .catch(() => {})
      .then(() => {
        following = null;
        return refresh();
      }));
  }

  await refresh();
  const looking = repeat(log, EVERY_MS, refresh);
  const stopListening = await bus.control.subscribe((message) => {
    if (message.kind !== "credentials.revoked") return;
    refresh().catch((error: unknown) => log.warn({ err: error }, "revocations could not be read; asking again soon"));
  });

  return {
    isRevoked({ visitorId, sessionId, siteId, issuedAt, origin }) {
      if ((known.get(visitorId)?.at ?? -Infinity) >= issuedAt || known.has(sessionId)) return true;
      const origins = known.get(siteId)?.allowedOrigins;
      return origins != null && !isOriginAllowed(origin, origins);
    },
    refresh,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async stop() {
      stopListening();
      await looking.stop();
      await current?.catch(() => {});
    },
  };
}
