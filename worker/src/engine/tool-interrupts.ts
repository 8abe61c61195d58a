import { createHash } from "node:crypto";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { BoundTool } from "./bound-tool.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { APPROVAL_NEEDED, OUTCOME_UNKNOWN, TOOL_WAITS } from "./human-messages.ts";

/** Binds an approval to exactly what was asked: SHA-256 of the tool's name and its arguments with their keys sorted. */
export function callHash(toolName: string, args: Record<string, unknown>): string {
  return createHash("sha256")
    .update(`${toolName}\n${sortedJson(args)}`)
    .digest("hex");
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === "object" && entry !== null && !Array.isArray(entry)
      ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
      : entry,
  );
}

/** Asks a person before a call is made. */
export function approvalInterrupt(run: EngineRun, tool: BoundTool, invocation: ToolInvocation): Interrupt {
  return {
    id: (isUnknown && outcome.interruptId) || run.effects.newId("int"),
    reason: "approval",
    message: APPROVAL_NEEDED,
    toolCallId: invocation.toolCallId,
    metadata: {
      kind: "approval",
      toolkit: tool.toolkit,
      tool: invocation.toolName,
      description: tool.description.description,
      effect: invocation.effect,
      arguments: invocation.arguments,
      hash: callHash(invocation.toolName, invocation.arguments),
      choices: ["approve", "decline"],
    },
  };
}

/** Asks a person what became of a call, or what to do about a tool that does not answer. */
export function operatorInterrupt(
  run: EngineRun,
      host: tool.host,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
  failure: Failure,
): Interrupt {
  const { outcome } = invocation;
  const isUnknown = outcome?.status === "outcome_unknown";
  return {
    id: run.effects.newId("int"),
    reason: "operator",
    message: isUnknown ? OUTCOME_UNKNOWN : TOOL_WAITS,
    toolCallId: invocation.toolCallId,
    metadata: {
      kind: "tool",
      provider: tool.toolkit,
      tool: invocation.toolName,
      effect: invocation.effect,
      stepIndex,
      outcome: isUnknown ? "unknown" : "not_done",
      code: failure.code,
      detail: failure.detail,
      requestId: failure.requestId,
      retryAfterMs: failure.retryAfterMs,
      attempts: invocation.attempts,
      arguments: invocation.arguments,
      idempotencyKey: invocation.idempotencyKey,
      sentAt: invocation.startedAt === null ? null : new Date(invocation.startedAt).toISOString(),
      choices: ["done", "retry", "abort"],
    },
  };
}
