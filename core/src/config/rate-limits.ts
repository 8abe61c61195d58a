/**
 * How much each may ask of the API. One table: what `RATE_LIMITS` and a tenant's own limits may change, and what
 * `docs/limits.md` lists.
 */

/** What a request does, for its limit: `message` begins a run, `session` lets a visitor in, `heavy` reads very much. */
export type RateClass = "read" | "write" | "message" | "session" | "heavy";

/**
 * By what is done and whom it holds for: `key` is a secret key or a member, `conversation` what one caller writes in one.
 * Requests a minute; `connections` are open sockets and event streams, at one server.
 */
const PRODUCTION_LIMITS = {
  "read.address": 6_000,
  "read.visitor": 600,
  "read.key": 6_000,
  "read.tenant": 120_000,
  "write.address": 1_200,
  "write.visitor": 120,
  "write.key": 3_000,
  "write.tenant": 30_000,
  "message.address": 600,
  "message.visitor": 20,
  "message.key": 3_000,
  "message.tenant": 12_000,
  "message.conversation": 30,
  "session.address": 120,
  "session.tenant": 6_000,
  "heavy.address": 240,
  "heavy.key": 120,
  "heavy.tenant": 240,
  "connections.address": 500,
  "connections.visitor": 12,
  "connections.key": 2_000,
  "connections.tenant": 20_000,
} as const;

export type RateLimitName = keyof typeof PRODUCTION_LIMITS;
export type RateLimits = Readonly<Record<RateLimitName, number>>;

export const RATE_LIMIT_NAMES = Object.keys(PRODUCTION_LIMITS) as RateLimitName[];

/** On a developer's machine a hundred visitors come from one address, and tests are faster than people. */
const ELSEWHERE_FACTOR = 100;
const MAX_LIMIT = 100_000_000;

/** What holds where nobody says otherwise. */
export function defaultRateLimits(nodeEnv: "development" | "production" | "test"): RateLimits {
  if (nodeEnv === "production") return PRODUCTION_LIMITS;
  return Object.fromEntries(
    RATE_LIMIT_NAMES.map((name) => [name, PRODUCTION_LIMITS[name] * ELSEWHERE_FACTOR]),
  ) as unknown as RateLimits;
}

export function isRateLimitName(name: string): name is RateLimitName {
  return Object.hasOwn(PRODUCTION_LIMITS, name);
}

export function isRateLimit(limit: unknown): limit is number {
  return Number.isInteger(limit) && Number(limit) >= 1 && Number(limit) <= MAX_LIMIT;
}

/** `message.visitor=40,read.key=12000`, or `all=1000000` for each of them; null when it cannot be read. */
export function parseRateLimits(text: string): Partial<RateLimits> | null {
  const limits: Partial<Record<RateLimitName, number>> = {};
  for (const part of text.split(",")) {
    const [, name = "", limit = ""] = /^\s*([a-z.]+)\s*=\s*(\d{1,9})\s*$/.exec(part) ?? [];
    if (!isRateLimit(Number(limit))) return null;
    if (name === "all") for (const each of RATE_LIMIT_NAMES) limits[each] = Number(limit);
    else if (isRateLimitName(name)) limits[name] = Number(limit);
    else return null;
  }
  return limits;
}
