/** What an MCP server answered or did not, and what that means by the table of failures. */
import { retryAfterMs, type Failure } from "../failure.ts";
import { failureOf, failureTable, rowOfAnswer } from "../failure-table.ts";
import { networkError } from "../network-error.ts";

const MAX_MESSAGE_LENGTH = 500;

/** An HTTP answer that holds no JSON-RPC message. */
export class McpHttpError extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, headers: Record<string, string>, body: string) {
    super(`The MCP server answered ${status}${body === "" ? "" : `: ${body}`}`.slice(0, MAX_MESSAGE_LENGTH));
    this.name = "McpHttpError";
    this.status = status;
    this.headers = headers;
  }
}

/** A JSON-RPC error. */
export class McpRefused extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message.slice(0, MAX_MESSAGE_LENGTH));
    this.name = "McpRefused";
    this.code = code;
  }
}

/** It went wrong before the call was sent: the call had no effect. */
export class McpNotOpened extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = "McpNotOpened";
  }
}

/** The call was sent; the connection ended before its answer. */
export class McpConnectionLost extends Error {
  constructor() {
    super("The connection ended before the answer came.");
    this.name = "McpConnectionLost";
  }
}

export class McpAnswerTooLarge extends Error {
  constructor(maxBytes: number) {
    super(`The answer is larger than ${maxBytes} bytes and was not read.`);
    this.name = "McpAnswerTooLarge";
  }
}

export class McpNotConnected extends Error {
  constructor() {
    super("There is no account to call the server with.");
    this.name = "McpNotConnected";
  }
}

/** JSON-RPC's and the SDK's. */
export const rpcCodes = {
  connectionClosed: -32_000,
  timeout: -32_001,
  internal: -32_603,
  invalidParams: -32_602,
  noSuchMethod: -32_601,
} as const;

/** Never throws. */
export function classifyMcpFailure(error: unknown, nowMs: number): Failure {
  if (error instanceof McpNotConnected) {
    return { ...failureOf("tool.connection_expired", error.message), notSent: true };
  }
  if (error instanceof McpNotOpened) return { ...beforeTheCall(error.cause, nowMs), notSent: true };
  if (error instanceof McpHttpError) return ofStatus(error, nowMs);
  if (error instanceof McpRefused) return ofRpcError(error);
  if (error instanceof McpConnectionLost) return failureOf("tool.connection_lost", error.message);
  const network = networkError(error);
  if (network?.code === "EGRESS_REFUSED") return failureOf("tool.address_refused", network.message);
  if (network) {
    const row = network.notSent ? "tool.connection_failed" : "tool.connection_lost";
    return failureOf(row, `${network.code}: ${network.message}`);
  }
  if (isTimeout(error)) return failureOf("tool.timeout", "The MCP server did not answer in time.");
  return failureOf("tool.unknown", error instanceof Error ? `${error.name}: ${error.message}` : String(error));
}

/** Nothing of the call was sent, so what would leave its outcome unknown is only a reason to try again. */
function beforeTheCall(cause: unknown, nowMs: number): Failure {
  if (cause instanceof McpHttpError) {
    const failure = ofStatus(cause, nowMs);
    if (failure.kind !== "unknown_outcome") return failure;
    const { requestId, retryAfterMs: wait } = failure;
    return failureOf("tool.unavailable", failure.detail, { requestId, retryAfterMs: wait });
  }
  const network = networkError(cause);
  if (network?.code === "EGRESS_REFUSED") return failureOf("tool.address_refused", network.message);
  if (network) return failureOf("tool.connection_failed", `${network.code}: ${network.message}`);
  if (isTimeout(cause)) return failureOf("tool.connection_failed", "The MCP server did not greet in time.");
  if (cause instanceof McpConnectionLost) return failureOf("tool.connection_failed", cause.message);
  return failureOf("tool.refused", cause instanceof Error ? cause.message : String(cause));
}

function ofStatus(error: McpHttpError, nowMs: number): Failure {
  const requestId = error.headers["x-request-id"] ?? error.headers["request-id"] ?? null;
  const extra = { requestId, retryAfterMs: retryAfterMs(error.headers, nowMs) };
  if (error.status === 401) return failureOf("tool.connection_expired", error.message, extra);
  return failureOf(rowOfAnswer("tool", error.status, "") ?? "tool.unknown", error.message, extra);
}

/** A server that broke says nothing of what it did before; any other error is a refusal. */
function ofRpcError({ code, message }: McpRefused): Failure {
  const detail = `${code}: ${message}`;
  if (code === rpcCodes.timeout) return failureOf("tool.timeout", detail);
  if (code === rpcCodes.connectionClosed) return failureOf("tool.connection_lost", detail);
  return failureOf(code === rpcCodes.internal ? "tool.server_error" : "tool.refused", detail);
}

/** True when the status is a definite refusal, which the model may read; the account's end is for a person. */
export function isRefusal(error: unknown): error is McpHttpError | McpRefused {
  if (error instanceof McpRefused) return ofRpcError(error).kind === "permanent";
  if (!(error instanceof McpHttpError) || error.status === 401) return false;
  const row = rowOfAnswer("tool", error.status, "");
  return row !== null && failureTable[row].kind === "permanent";
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError");
}
