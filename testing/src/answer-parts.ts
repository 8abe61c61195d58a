/** What streamed and whole answers share. */
import type { ServerResponse } from "node:http";
import type { ModelStep } from "./model-script.ts";

/** OpenAI's error object. */
export function errorObject(message: string, type = "server_error", code: string | null = null): object {
  return { message, type, param: null, code };
}

/** Answers with the status of a script, JSON or text. */
export function sendStatus(response: ServerResponse, step: Extract<ModelStep, { kind: "status" }>): void {
  const body = step.body ?? { error: errorObject(`The fake model answers ${step.status}.`) };
  const isText = typeof body === "string";
  response.writeHead(step.status, {
    "content-type": isText ? "text/html" : "application/json",
    ...step.headers,
  });
  response.end(isText ? body : JSON.stringify(body));
}

/** Arguments of a tool call as the model writes them. */
export function argumentsText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
