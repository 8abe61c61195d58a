/** One call of a tool of the page. */
import type { PageToolHandler } from "../widget-api.ts";
import { jsonResult } from "./json-result.ts";

/** The server waits for a minute: what comes later is read by nobody. */
const TIMEOUT_MS = 50_000;

export type ToolReply = { decision: "result"; payload: { content: unknown } } | ToolFailure;

export interface ToolFailure {
  decision: "error";
  payload: { message: string };
}

/** Never rejects: what goes wrong is for the model to read. `signal` aborts when nobody waits any more. */
export async function runTool(
  handler: PageToolHandler | undefined,
  given: Record<string, unknown>,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<ToolReply> {
  if (!handler) return failure("The page no longer has this tool.");
  const timeout = AbortSignal.timeout(timeoutMs);
  const ended = AbortSignal.any([signal, timeout]);
  try {
    const content = await Promise.race([
      (async () => jsonResult(await handler(given, { signal: ended })))(),
      new Promise<never>((_resolve, reject) => {
        ended.addEventListener("abort", () => reject(new Error("The page did not answer in time.")));
      }),
    ]);
    return { decision: "result", payload: { content } };
  } catch (error) {
    return failure(error instanceof Error ? error.message : String(error));
  }
}

export function failure(message: string): ToolFailure {
  // A handler may throw anything, also a whole document.
  return { decision: "error", payload: { message: message.slice(0, 1_000) || "The page's tool failed." } };
}
