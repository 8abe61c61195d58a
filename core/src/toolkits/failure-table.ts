/**
 * The one table of what can go wrong with models and tools, and what may be done about it. Every adapter maps its
 * errors through it; `docs/runs.md` shows it, and a test holds the two together.
 */
import type { Failure, FailureKind } from "./failure.ts";

export interface FailureRow {
  of: "model" | "tool";
  /** What is seen, as the documents say it. */
  sign: string;
  kind: FailureKind;
  code: string;
  /** Counts against the circuit of its provider: it says that the other side is not well. */
  breaks: boolean;
  /** HTTP statuses that are this, as inclusive ranges. */
  statuses?: readonly (readonly [from: number, to: number])[];
  /** What vendors write into codes, types and messages; wins over the status. */
  words?: RegExp;
  /** The request certainly never left us. */
  notSent?: true;
  /** For staff, where a run waits: what a person can do. */
  advice: string;
}

const RETRY = "Retry once the provider answers again; its status page and the request id help to find out.";
const CHECK = "Find out at the other side, by the idempotency key or the request id, whether it happened; then decide.";
const CIRCUIT =
  "Nothing is sent before the time in `circuit.retryAt`; then one call tries. Retry after that, or see to the other side first.";

/** Of one kind of source the first row that fits counts. */
export const failureTable = {
  "model.quota_exhausted": {
    of: "model",
    sign: "answers 402, or says that the quota or the credit is used up",
    kind: "needs_person",
    code: "quota_exhausted",
    breaks: false,
    statuses: [[402, 402]],
    words: /insufficient_quota|billing_(error|hard_limit)|credit balance is too low/i,
    advice: "Raise the limit or pay at the vendor, then retry.",
  },
  "model.context_too_long": {
    of: "model",
    sign: "answers 413, or says that the conversation is too long for it",
    kind: "permanent",
    code: "context_too_long",
    breaks: false,
    statuses: [[413, 413]],
    words: /context_length_exceeded|context window|maximum context length|prompt is too long/i,
    advice: "Give the agent a model with a larger context.",
  },
  "model.rate_limited": {
    of: "model",
    sign: "answers 429, or says that its rate limit is reached",
    kind: "transient",
    code: "rate_limited",
    breaks: false,
    statuses: [[429, 429]],
    words: /rate_limit_(exceeded|error)/i,
    advice: "Retry after the time in `retryAt`; if it happens often, raise the rate limit at the vendor.",
  },
  "model.content_filtered": {
    of: "model",
    sign: "refuses the content",
    kind: "permanent",
    code: "content_filtered",
    breaks: false,
    words: /content_filter|content_policy|content management policy/i,
    advice: "Look at what was asked and at the agent's instructions.",
  },
  "model.not_authorized": {
    of: "model",
    sign: "answers 401 or 403",
    kind: "permanent",
    code: "not_authorized",
    breaks: false,
    statuses: [
      [401, 401],
      [403, 403],
    ],
    advice: "Check the key of the model's vendor.",
  },
  "model.model_not_found": {
    of: "model",
    sign: "answers 404",
    kind: "permanent",
    code: "model_not_found",
    breaks: false,
    statuses: [[404, 404]],
    advice: "Check the model's name and base URL in the agent.",
  },
  "model.timeout": {
    of: "model",
    sign: "answers 408",
    kind: "transient",
    code: "timeout",
    breaks: true,
    statuses: [[408, 408]],
    advice: RETRY,
  },
  "model.unavailable": {
    of: "model",
    sign: "answers 409, 425 or 5xx, or sends an error in the middle of its stream",
    kind: "transient",
    code: "unavailable",
    breaks: true,
    statuses: [
      [409, 409],
      [425, 425],
      [500, 599],
    ],
    advice: RETRY,
  },
  "model.invalid_request": {
    of: "model",
    sign: "answers another 4xx",
    kind: "permanent",
    code: "invalid_request",
    breaks: false,
    statuses: [[300, 499]],
    advice: "Read the detail; check the agent's model and its settings.",
  },
  "model.stalled": {
    of: "model",
    sign: "is silent for too long",
    kind: "transient",
    code: "stalled",
    breaks: true,
    advice: RETRY,
  },
  "model.cut_off": {
    of: "model",
    sign: "breaks off in the middle of its answer",
    kind: "transient",
    code: "cut_off",
    breaks: true,
    advice: RETRY,
  },
  "model.garbage": {
    of: "model",
    sign: "sends what cannot be read",
    kind: "transient",
    code: "garbage",
    breaks: true,
    advice: RETRY,
  },
  "model.connection_failed": {
    of: "model",
    sign: "cannot be reached, or hangs up before its answer",
    kind: "transient",
    code: "connection_failed",
    breaks: true,
    advice: RETRY,
  },
  "model.address_refused": {
    of: "model",
    sign: "has an address where requests may not go",
    kind: "permanent",
    code: "address_refused",
    breaks: false,
    advice: "Give the agent's model a public base URL.",
  },
  "model.not_configured": {
    of: "model",
    sign: "is not set up: no key, no name, no base URL",
    kind: "permanent",
    code: "not_configured",
    breaks: false,
    advice: "Set what the detail names.",
  },
  "model.circuit_open": {
    of: "model",
    sign: "failed too often in a row and is not asked for a while",
    kind: "needs_person",
    code: "circuit_open",
    breaks: false,
    advice: CIRCUIT,
  },
  "model.unknown": {
    of: "model",
    sign: "fails in a way that is not in this table",
    kind: "transient",
    code: "unknown",
    breaks: true,
    advice: RETRY,
  },
  "tool.rate_limited": {
    of: "tool",
    sign: "answers 429",
    kind: "transient",
    code: "rate_limited",
    breaks: false,
    statuses: [[429, 429]],
    advice: "Retry after the time in `retryAt`.",
  },
  "tool.unavailable": {
    of: "tool",
    sign: "answers 425 or 503",
    kind: "transient",
    code: "unavailable",
    breaks: true,
    statuses: [
      [425, 425],
      [503, 503],
    ],
    advice: "Retry once the service answers again.",
  },
  "tool.timeout": {
    of: "tool",
    sign: "answers 408, or not before the deadline",
    kind: "unknown_outcome",
    code: "timeout",
    breaks: true,
    statuses: [[408, 408]],
    advice: CHECK,
  },
  "tool.refused": {
    of: "tool",
    sign: "answers 3xx, another 4xx, 501 or 505",
    kind: "permanent",
    code: "refused",
    breaks: false,
    statuses: [
      [300, 499],
      [501, 501],
      [505, 505],
    ],
    advice: "The model reads the answer and may react.",
  },
  "tool.server_error": {
    of: "tool",
    sign: "answers another 5xx",
    kind: "unknown_outcome",
    code: "server_error",
    breaks: true,
    statuses: [[500, 599]],
    advice: CHECK,
  },
  "tool.connection_failed": {
    of: "tool",
    sign: "cannot be reached: nothing was sent",
    kind: "transient",
    code: "connection_failed",
    breaks: true,
    notSent: true,
    advice: "Nothing was sent. Retry once the service can be reached.",
  },
  "tool.connection_lost": {
    of: "tool",
    sign: "hangs up without an answer",
    kind: "unknown_outcome",
    code: "connection_lost",
    breaks: true,
    advice: CHECK,
  },
  "tool.address_refused": {
    of: "tool",
    sign: "has an address where requests may not go",
    kind: "permanent",
    code: "address_refused",
    breaks: false,
    notSent: true,
    advice: "Give the toolkit a public base URL.",
  },
  "tool.search_failed": {
    of: "tool",
    sign: "is the built-in search, and the database does not answer",
    kind: "transient",
    code: "search_failed",
    breaks: false,
    notSent: true,
    advice: "Retry once the database answers again.",
  },
  "tool.builtin_failed": {
    of: "tool",
    sign: "is another built-in tool, and the database does not answer",
    kind: "transient",
    code: "builtin_failed",
    breaks: false,
    advice: "Retry once the database answers again: it is never done twice.",
  },
  "tool.interrupted": {
    of: "tool",
    sign: "was being called when the worker died",
    kind: "unknown_outcome",
    code: "interrupted",
    breaks: false,
    advice: CHECK,
  },
  "tool.cancelled": {
    of: "tool",
    sign: "was being called when the run was cancelled",
    kind: "unknown_outcome",
    code: "cancelled",
    breaks: false,
    advice: CHECK,
  },
  "tool.declined": {
    of: "tool",
    sign: "was not called, since a person declined",
    kind: "permanent",
    code: "declined",
    breaks: false,
    notSent: true,
    advice: "The model reads that it was declined.",
  },
  "tool.not_connected": {
    of: "tool",
    sign: "needs a connection, and nobody in the chat can make it",
    kind: "needs_person",
    code: "not_connected",
    breaks: false,
    notSent: true,
    advice: "Nothing was sent. Connect the toolkit's account, then retry.",
  },
  "tool.connection_expired": {
    of: "tool",
    sign: "says that the connection is no longer good",
    kind: "needs_person",
    code: "connection_expired",
    breaks: false,
    advice: "The call had no effect. Connect the toolkit's account again, then retry.",
  },
  "tool.connection_unreadable": {
    of: "tool",
    sign: "needs a connection, and it cannot be read or renewed",
    kind: "transient",
    code: "connection_unreadable",
    breaks: false,
    notSent: true,
    advice: "Nothing was sent. Retry once the database and the toolkit's own service answer again.",
  },
  "tool.page_failed": {
    of: "tool",
    sign: "is the visitor's page, which answered with an error or not at all",
    kind: "permanent",
    code: "page_failed",
    breaks: false,
    advice: "The model reads what the page said and may react.",
  },
  "tool.tool_gone": {
    of: "tool",
    sign: "is no longer among the agent's tools",
    kind: "permanent",
    code: "tool_gone",
    breaks: false,
    notSent: true,
    advice: "The model reads that it is gone.",
  },
  "tool.circuit_open": {
    of: "tool",
    sign: "failed too often in a row and is not called for a while",
    kind: "needs_person",
    code: "circuit_open",
    breaks: false,
    notSent: true,
    advice: CIRCUIT,
  },
  "tool.unknown": {
    of: "tool",
    sign: "fails in a way that is not in this table",
    kind: "unknown_outcome",
    code: "unknown",
    breaks: true,
    advice: CHECK,
  },
} as const satisfies Record<string, FailureRow>;

export type FailureId = keyof typeof failureTable;

const rows = Object.entries(failureTable) as [FailureId, FailureRow][];

const MAX_DETAIL_LENGTH = 500;

/** A failure of this row; `detail` is what the other side said, for staff. */
export function failureOf(
  id: FailureId,
  detail: string,
  extra: Partial<Pick<Failure, "requestId" | "retryAfterMs" | "circuit">> = {},
): Failure {
  const { kind, code, notSent }: FailureRow = failureTable[id];
  return {
    kind,
    code,
    detail: detail.slice(0, MAX_DETAIL_LENGTH),
    requestId: null,
    retryAfterMs: null,
    ...(notSent ? { notSent } : {}),
    ...extra,
  };
}

/** The row of an HTTP status and of the words that came with it; null when neither says anything. */
export function rowOfAnswer(of: FailureRow["of"], status: number | undefined, words: string): FailureId | null {
  const own = rows.filter(([, row]) => row.of === of);
  const said = own.find(([, row]) => row.words?.test(words));
  if (said) return said[0];
  if (status === undefined) return null;
  const answered = own.find(([, row]) => row.statuses?.some(([from, to]) => status >= from && status <= to));
  return answered?.[0] ?? null;
}

function rowOf(of: FailureRow["of"], code: string): FailureRow | undefined {
  return rows.find(([, row]) => row.of === of && row.code === code)?.[1];
}

/** What a failed attempt says about the other side: it is not well, it is (it refused), or nothing. */
export function healthOf(of: FailureRow["of"], failure: Failure): "failed" | "healthy" | "unclear" {
  if (failure.kind === "permanent") return "healthy";
  return rowOf(of, failure.code)?.breaks === true ? "failed" : "unclear";
}

/** Codes of what ended a call without an answer of the other side to its last attempt. */
const NOT_ANSWERS = new Set<string>(
  (
    [
      "tool.interrupted",
      "tool.cancelled",
      "tool.declined",
      "tool.not_connected",
      "tool.connection_unreadable",
      "tool.page_failed",
      "tool.tool_gone",
      "tool.circuit_open",
    ] as const
  ).map((id) => failureTable[id].code),
);

/** Whether a call's last attempt failed at the other side, or on the way there: what the toolkit's health is about. */
export function isFailedAttempt({ code }: Failure): boolean {
  return !NOT_ANSWERS.has(code);
}

/** What a person can do about a run that waits because of this. */
export function adviceOn(of: FailureRow["of"], code: string): string {
  return rowOf(of, code)?.advice ?? RETRY;
}
