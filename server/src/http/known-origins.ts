import { originCandidates, parseOrigin } from "@agent-engine/core/sites/origin.ts";

/** Short, so that every server goes by a changed allow-list within seconds; asking costs an indexed look-up. */
const REMEMBERED_FOR_MS = 5_000;
const MAX_REMEMBERED = 10_000;

/** Tells whether any site's allow-list has one of these patterns. */
export type FindOriginPatterns = (candidates: string[]) => Promise<boolean>;

/** True when some site allows the origin. Whether it is the right site is the token's business. */
export type IsKnownOrigin = (originHeader: string | null | undefined) => Promise<boolean>;

interface Remembered {
  isKnown: boolean;
  until: number;
}

/**
 * Answers CORS: a preflight carries no credential, so all it can be asked is whether any site embeds from there.
 * Remembered for a while; when Postgres does not answer, what was known stands.
 */
export function createKnownOrigins(find: FindOriginPatterns, clock: () => number): IsKnownOrigin {
  const remembered = new Map<string, Remembered>();
  const asking = new Map<string, Promise<boolean>>();

  async function ask(origin: string): Promise<boolean> {
    const isKnown = await find(withBareForms(originCandidates(origin)));
    // Insertion order is age: the oldest makes room.
    remembered.delete(origin);
    for (const oldest of remembered.keys()) {
      if (remembered.size < MAX_REMEMBERED) break;
      remembered.delete(oldest);
    }
    remembered.set(origin, { isKnown, until: clock() + REMEMBERED_FOR_MS });
    return isKnown;
  }

  return async (header) => {
    const origin = parseOrigin(header);
    if (origin === null) return false;
    const known = remembered.get(origin);
    if (known && known.until > clock()) return known.isKnown;
    const pending = asking.get(origin) ?? ask(origin).finally(() => asking.delete(origin));
    asking.set(origin, pending);
    try {
      return await pending;
    } catch (error) {
      if (known) return known.isKnown;
      throw error;
    }
  };
}

/** An allow-list may hold a pattern without its scheme, which means https. */
function withBareForms(candidates: string[]): string[] {
  const bare = candidates.filter((each) => each.startsWith("https://")).map((each) => each.slice("https://".length));
  return [...candidates, ...bare];
}
