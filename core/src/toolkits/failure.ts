/**
 * What may be done after something outside us failed; every model and tool adapter maps its own errors to this.
 *
 * - `transient`: the call certainly had no effect; the same call may succeed later.
 * - `permanent`: the call was answered with a refusal; the same call will be refused again.
 * - `unknown_outcome`: the call was sent and no answer came: it may or may not have had its effect.
 * - `needs_person`: nothing a program does will help: a connection expired, a quota is used up.
 */
export type FailureKind = "transient" | "permanent" | "unknown_outcome" | "needs_person";

export interface Failure {
  kind: FailureKind;
  /** Stable and free of vendor names, for instance `rate_limited`, `unavailable`, `timeout`: visitors may see it. */
  code: string;
  /** For staff: what the other side said. Never shown to visitors. */
  detail: string;
  /** The other side's id of the request, to quote in a support ticket. */
  requestId: string | null;
  /** How long the other side asked us to wait. */
  retryAfterMs: number | null;
  /** True when the request certainly never left us, so that even a write may be sent again. */
  notSent?: boolean;
  /** Set when nothing was sent because the other side has failed too often. */
  circuit?: OpenCircuit;
}

/** Why a model or a host is not asked for a while. Times are ISO 8601 UTC. */
export interface OpenCircuit {
  since: string;
  /** When one call tries again. */
  retryAt: string;
  /** In a row, until it opened. */
  failures: number;
  last: { code: string; detail: string; requestId: string | null; at: string };
}

/** A year. Of what is more there is no date, neither here nor in Postgres. */
const MAX_WAIT_MS = 31_536_000_000;

/**
 * Milliseconds of a `Retry-After` header (seconds, or an HTTP date) or null when it is absent or unreadable.
 * `retry-after-ms` (OpenAI) is more precise and wins.
 */
export function retryAfterMs(
  headers: Readonly<Record<string, string | undefined>> | undefined,
  nowMs: number,
): number | null {
  const precise = Number(headers?.["retry-after-ms"]);
  if (precise > 0) return Math.min(precise, MAX_WAIT_MS);
  const value = headers?.["retry-after"]?.trim();
  if (!value) return null;
  if (/^\d+(\.\d+)?$/.test(value)) return Math.min(Math.round(Number(value) * 1000), MAX_WAIT_MS);
  // Without the name of a month, `Date.parse` makes dates of anything.
  const date = /[a-z]{3}/i.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? null : Math.min(Math.max(0, date - nowMs), MAX_WAIT_MS);
}
