import type { RealtimeRefusal } from "@agent-engine/protocol/realtime.ts";
import type { RealtimeErrorCode } from "@agent-engine/protocol/problems.ts";
import { toProblemError } from "../http/problem.ts";

const RETRYABLE: Record<RealtimeErrorCode, boolean> = {
  unauthenticated: false,
  origin_not_allowed: false,
  realtime_unavailable: true,
};

/** Redis is away, or Postgres: what is missing here is the live way, not the conversation. */
export const UNAVAILABLE: RealtimeRefusal = {
  code: "realtime_unavailable",
  retryable: true,
  detail: "Live events cannot be delivered right now. Read the event stream or the events by page; sockets come back.",
};

/** Why a handshake is refused. Socket.IO hands `data` to the client with `connect_error`. */
export class HandshakeRefused extends Error {
  readonly data: RealtimeRefusal;

  constructor(code: RealtimeErrorCode, detail: string) {
    super(code);
    this.name = "HandshakeRefused";
    this.data = { code, retryable: RETRYABLE[code], detail };
  }
}

/** Any error of a handshake as a refusal that tells nothing of our insides. */
export function toRefusal(error: unknown): HandshakeRefused {
  if (error instanceof HandshakeRefused) return error;
  const problem = toProblemError(error);
  switch (problem.code) {
    case "unauthenticated":
    case "origin_not_allowed":
      return new HandshakeRefused(problem.code, problem.detail);
    case "rate_limited":
      return new HandshakeRefused("realtime_unavailable", problem.detail);
    default:
      return new HandshakeRefused(UNAVAILABLE.code, UNAVAILABLE.detail);
  }
}
