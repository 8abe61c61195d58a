/**
 * The tools of a fork: a call that the original made is answered with what it was answered then, as often as it was
 * recorded and in that order. Any other call that changes something asks a person first, whatever the agent's policy.
 *
 * Nothing is lost when a worker dies: a reused result is recorded with the invocation that it was reused from, and the
 * next worker finds it used. It needs no intent, since nothing is sent.
 */
import type { Fork } from "@agent-engine/core/runs/read-fork.ts";
import { callHash } from "@agent-engine/core/toolkits/call-hash.ts";
import type { BoundTool } from "./engine/bound-tool.ts";
import type { ReusedOutcome } from "./engine/tool-outcome.ts";

export function forkedTools(tools: readonly BoundTool[], { settings, recorded }: Fork): BoundTool[] {
  const byCall = Map.groupBy(recorded, (call) => callHash(call.tool, call.arguments));
  return tools.map((tool) => ({
    ...tool,
    policy: tool.description.effect === "read" || settings.allowSideEffects ? tool.policy : "approve",
    recall: ({ toolName, arguments: args }) =>
      (byCall.get(callHash(toolName, args))?.shift()?.outcome as ReusedOutcome | undefined) ?? null,
  }));
}
