import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import type { ToolConnection } from "@agent-engine/core/toolkits/toolkit.ts";
import type { BoundTool } from "./bound-tool.ts";
import type { EngineRun } from "./engine.ts";
import { withDeadline } from "./pause.ts";

export type Connected =
  /** Null for a tool that needs none. */
  | { kind: "connected"; connection: ToolConnection | null }
  | { kind: "failed"; failure: Failure }
  /** The signal was aborted. */
  | { kind: "cancelled" };

/** Finds the account that a tool acts with, now: it may have gone since it was last asked for. Never rejects. */
export async function connectAccount(run: EngineRun, tool: BoundTool, signal: AbortSignal): Promise<Connected> {
  const { account } = tool;
  if (!account) return { kind: "connected", connection: null };
  const end = await withDeadline(run.effects, tool.deadlineMs, signal, () => account.connect());
  switch (end.kind) {
    case "done":
      return end.value ? { kind: "connected", connection: end.value } : { kind: "failed", failure: notConnected(tool) };
    case "failed":
      return { kind: "failed", failure: failureOf("tool.connection_unreadable", String(end.error)) };
    case "late":
      return { kind: "failed", failure: failureOf("tool.connection_unreadable", "It took too long.") };
    case "aborted":
      return { kind: "cancelled" };
  }
}

function notConnected(tool: BoundTool): Failure {
  const whose = tool.description.connection === "visitor" ? "visitor's" : "tenant's";
  return failureOf("tool.not_connected", `There is no active ${whose} connection for ${tool.toolkit}.`);
}
