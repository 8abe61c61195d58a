import { callHash } from "@agent-engine/core/toolkits/call-hash.ts";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { DEFAULT_APPROVAL, type BoundTool, type ToolAccount, type VisitorQuestion } from "./bound-tool.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import {
  APPROVAL_NEEDED,
  CONNECTION_NEEDED,
  OUTCOME_UNKNOWN,
  TEAM_APPROVAL_NEEDED,
  TOOL_WAITS,
} from "./human-messages.ts";
import { failureMetadata, type Tried } from "./tried.ts";

/** Asks a person before a call is made. */
export function approvalInterrupt(run: EngineRun, tool: BoundTool, invocation: ToolInvocation): Interrupt {
  const { by, expiresInSeconds } = tool.approval ?? DEFAULT_APPROVAL;
  return {
    id: run.effects.newId("int"),
    reason: "approval",
    message: by === "operator" ? TEAM_APPROVAL_NEEDED : APPROVAL_NEEDED,
    toolCallId: invocation.toolCallId,
    expiresAt: expiresAt(run, expiresInSeconds * 1_000),
    metadata: {
      kind: "approval",
      by,
      toolkit: tool.toolkit,
      tool: invocation.toolName,
      description: tool.description.description,
      effect: invocation.effect,
      arguments: invocation.arguments,
      parameters: tool.description.parameters,
      hash: callHash(invocation.toolName, invocation.arguments),
      choices: ["approve", "decline"],
    },
  };
}

/** A link that has expired can be renewed; this is how long the run stands in the way of the next message. */
const CONNECTION_WAIT_MS = 86_400_000;

function expiresAt(run: EngineRun, inMs: number): string {
  return new Date(run.effects.now() + inMs).toISOString();
}

/** Asks the visitor to connect their account: for the first time, or again. */
export function connectionInterrupt(
  run: EngineRun,
  tool: BoundTool,
  account: ToolAccount,
  invocation: ToolInvocation,
  failure: Failure,
): Interrupt {
  return {
    id: run.effects.newId("int"),
    reason: "connection",
    message: CONNECTION_NEEDED,
    toolCallId: invocation.toolCallId,
    expiresAt: expiresAt(run, CONNECTION_WAIT_MS),
    metadata: {
      kind: "connection",
      toolkit: tool.toolkit,
      toolkitId: account.toolkitId,
      title: account.title,
      tool: invocation.toolName,
      code: failure.code,
      outcome: "not_done",
      choices: ["decline"],
    },
  };
}

/** Asks the visitor's browser: a tool of the page, a form. */
export function visitorInterrupt(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  question: VisitorQuestion,
): Interrupt {
  const { message, metadata, responseSchema, expiresInMs } = question;
  return {
    id: run.effects.newId("int"),
    reason: "client_tool",
    message,
    toolCallId: invocation.toolCallId,
    ...(responseSchema ? { responseSchema } : {}),
    expiresAt: expiresAt(run, expiresInMs),
    metadata: { toolkit: tool.toolkit, ...metadata, choices: ["result", "error"] },
  };
}

/** Asks a person what became of a call, or what to do about a tool that does not answer. */
export function operatorInterrupt(
  run: EngineRun,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
  failure: Failure,
  tried: readonly Tried[],
): Interrupt {
  const { outcome } = invocation;
  const isUnknown = outcome?.status === "outcome_unknown";
  return {
    id: (isUnknown && outcome.interruptId) || run.effects.newId("int"),
    reason: "operator",
    message: isUnknown ? OUTCOME_UNKNOWN : TOOL_WAITS,
    toolCallId: invocation.toolCallId,
    metadata: {
      kind: "tool",
      provider: tool.toolkit,
      host: tool.host,
      tool: invocation.toolName,
      effect: invocation.effect,
      stepIndex,
      outcome: isUnknown ? "unknown" : "not_done",
      ...failureMetadata("tool", failure, tried, run.effects.now()),
      attempts: invocation.attempts,
      arguments: invocation.arguments,
      idempotencyKey: invocation.idempotencyKey,
      sentAt: invocation.startedAt === null ? null : new Date(invocation.startedAt).toISOString(),
      choices: ["done", "retry", "abort"],
    },
  };
}
