import type { ModelScript, ModelStep } from "./model-script.ts";

const some: ModelStep = { kind: "text", text: "The answer begins but " };

/** How a model provider goes wrong, each as a script: the modes of the provider fault experiment. */
export const modelFaults = {
  rateLimited: {
    steps: [
      {
        kind: "status",
        status: 429,
        headers: { "retry-after": "1" },
        body: {
          error: { message: "Rate limit reached", type: "requests", param: null, code: "rate_limit_exceeded" },
        },
      },
    ],
  },
  serverError: { steps: [{ kind: "status", status: 500 }] },
  overloaded: { steps: [{ kind: "status", status: 503, body: "<html><body>Service Unavailable</body></html>" }] },
  badKey: {
    steps: [
      {
        kind: "status",
        status: 401,
        body: {
          error: {
            message: "Incorrect API key provided",
            type: "invalid_request_error",
            param: null,
            code: "invalid_api_key",
          },
        },
      },
    ],
  },
  neverAnswers: { firstTokenDelayMs: 2 ** 31 - 1, steps: [] },
  cutAtOnce: { steps: [{ kind: "cut", reset: true }] },
  cutMidStream: { steps: [some, { kind: "cut" }] },
  stallMidStream: { steps: [some, { kind: "stall" }] },
  endsWithoutFinish: { steps: [some, { kind: "end" }] },
  emptyStream: { steps: [{ kind: "end" }] },
  garbageJson: { steps: [some, { kind: "raw", text: 'data: {"id":"chatcmpl-1","choices":[{"del\n\n' }, some] },
  notSse: { steps: [some, { kind: "raw", text: "\u0000\u0001 502 Bad Gateway <nginx>\r\n\r\n" }, { kind: "cut" }] },
  errorInStream: { steps: [some, { kind: "error", message: "The server had an error", code: "server_error" }] },
} as const satisfies Record<string, ModelScript>;

export type ModelFault = keyof typeof modelFaults;
