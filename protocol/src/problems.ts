/** Every error the HTTP API can answer: one row each. `code` is stable; `detail` says what to do. */
export const problems = {
  invalid_request: { status: 400, title: "The request is not valid" },
  unauthenticated: { status: 401, title: "Authentication is missing or not valid" },
  forbidden: { status: 403, title: "This credential may not do that" },
  origin_not_allowed: { status: 403, title: "This site may not embed the widget" },
  challenge_required: { status: 403, title: "This site asks new visitors for a proof of work" },
  not_found: { status: 404, title: "Not found" },
  method_not_allowed: { status: 405, title: "Method not allowed" },
  idempotency_in_flight: { status: 409, title: "The same request is still being processed" },
  run_active: { status: 409, title: "A run is active in this conversation" },
  interrupt_resolved: { status: 409, title: "This interrupt has been resolved" },
  conflict: { status: 409, title: "The resource is in another state" },
  cursor_compacted: { status: 410, title: "The cursor lies inside a compacted range" },
  too_large: { status: 413, title: "The request is too large" },
  idempotency_mismatch: { status: 422, title: "The key was used with another request" },
  rate_limited: { status: 429, title: "Too many requests" },
  internal: { status: 500, title: "Something went wrong on our side" },
  unavailable: { status: 503, title: "The service is temporarily unavailable" },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof problems;

/** Codes of a realtime `connect_error`, in `data.code`. */
export type RealtimeErrorCode = "unauthenticated" | "origin_not_allowed" | "realtime_unavailable";
