/**
 * How a reader is connected, as a pure state machine. Nothing here has an effect; `connection.ts` acts on entering a state.
 *
 *            open             connected              lost
 *   idle ──────────▶ connecting ──────────▶ live ──────────▶ reconnecting
 *                     │  │  ▲                                   │
 *     lost again, or  │  │  └───────────── retry ─────────────── │
 *     realtime is     │  └── lost ──▶ reconnecting ── retry ──▶ connecting
 *     unavailable     ▼
 *                  degraded ── connected ──▶ live
 *                     └─ lost: stays, waits longer
 *
 *   any ── close, or lost for a reason that will not change ──▶ closed ── open ──▶ connecting
 *
 * `degraded` still receives events: from the SSE stream, or by asking (`via`); only when both fail is `via` null and the
 * reader cut off. A server that says that realtime is unavailable answers, so asking it is taken to work until it fails.
 * The socket is tried again from there, with backoff, for as long as it takes.
 */
import type { RealtimeErrorCode } from "@agent-engine/protocol/problems.ts";

export type ConnectionState =
  | { status: "idle" }
  | { status: "connecting"; failures: number }
  | { status: "live" }
  | { status: "reconnecting"; failures: number }
  | { status: "degraded"; failures: number; via: "stream" | "poll" | null }
  | { status: "closed"; reason: RealtimeErrorCode | null };

/** `lost` carries a code when the server refused or ended the socket and said why. */
export type ConnectionEvent =
  | { type: "open" | "connected" | "retry" | "close" }
  | { type: "lost"; code?: RealtimeErrorCode; retryable?: boolean }
  | { type: "fallback"; via: "stream" | "poll" | null };

const FAILURES_BEFORE_FALLBACK = 2;

export function transition(state: ConnectionState, event: ConnectionEvent): ConnectionState {
  const { status } = state;
  const failures = "failures" in state ? state.failures : 0;
  if (event.type === "close") return { status: "closed", reason: null };
  if (status === "idle" || status === "closed") {
    return event.type === "open" ? { status: "connecting", failures: 0 } : state;
  }
  switch (event.type) {
    case "connected":
      return { status: "live" };
    case "retry":
      return status === "reconnecting" ? { status: "connecting", failures } : state;
    case "fallback":
      return status === "degraded" && event.via !== state.via ? { ...state, via: event.via } : state;
    case "lost": {
      if (event.retryable === false) return { status: "closed", reason: event.code ?? null };
      const failed = status === "live" ? 0 : failures + 1;
      if (status === "degraded") return { ...state, failures: failed };
      // Told to try again and why: realtime is unavailable.
      return event.code || failed >= FAILURES_BEFORE_FALLBACK
        ? { status: "degraded", failures: failed, via: event.code ? "poll" : null }
        : { status: "reconnecting", failures: failed };
    }
    default:
      return state;
  }
}
