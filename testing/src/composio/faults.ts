/** What goes wrong with one call of the fake Composio. `before` and `after` are relative to its effect. */
import type { ServerResponse } from "node:http";
import { errorBody, sendJson } from "./wire.ts";

export type ComposioFault =
  /** Never answers. */
  | { kind: "hang"; when: "before" | "after" }
  /** Closes the connection without an answer. */
  | { kind: "cut"; when: "before" | "after" }
  /** Answers with an error of Composio's shape. */
  | {
      kind: "error";
      when: "before" | "after";
      status: number;
      code?: number;
      slug?: string;
      message?: string;
      headers?: Record<string, string>;
    }
  | { kind: "rateLimited"; retryAfterSeconds: number }
  /** Waits, then does it. */
  | { kind: "late"; delayMs: number }
  /** Waits until it is opened, then does it: for a moment that a test chooses. */
  | { kind: "gate"; opened: Promise<unknown> }
  /** 200, and nothing was done. */
  | { kind: "unsuccessful"; error: string; data?: unknown }
  /** 200, done, and says nothing. */
  | { kind: "empty" }
  /** 200, done, and answers with this. */
  | { kind: "data"; data: unknown }
  /** 200, done, and answers with what is not JSON. */
  | { kind: "garbage" };

/** Which calls a fault waits for: the name of a route, for instance `tools.execute`, `link.create`, `tools.list`. */
export type RouteName = string;

/** True when the fault answered (or never will). */
export function breakBefore(response: ServerResponse, fault: ComposioFault | null): boolean {
  if (fault && "when" in fault && fault.when === "before") return fail(response, fault);
  if (fault?.kind !== "rateLimited") return false;
  response.setHeader("retry-after", String(fault.retryAfterSeconds));
  response.setHeader("x-ratelimit", "20000");
  response.setHeader("x-ratelimit-remaining", "0");
  response.setHeader("x-ratelimit-window-size", "600s");
  sendJson(response, 429, errorBody(429, "Rate limit exceeded", "RateLimit_Exceeded", 429));
  return true;
}

export async function pauseFor(fault: ComposioFault | null): Promise<void> {
  if (fault?.kind === "late") await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
  if (fault?.kind === "gate") await fault.opened;
}

/** True when the fault answered (or never will). */
export function breakAfter(response: ServerResponse, fault: ComposioFault | null): boolean {
  if (fault && "when" in fault && fault.when === "after") return fail(response, fault);
  if (fault?.kind !== "garbage") return false;
  response.setHeader("content-type", "application/json");
  response.end("<html>\u0000{");
  return true;
}

function fail(response: ServerResponse, fault: Extract<ComposioFault, { when: unknown }>): boolean {
  if (fault.kind === "cut") response.socket?.destroy();
  if (fault.kind === "error") {
    for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value);
    const { status, message = "Something broke", slug = "Tool_Failed", code = status * 10 } = fault;
    sendJson(response, status, errorBody(status, message, slug, code));
  }
  return true;
}
