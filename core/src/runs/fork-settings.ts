import type { ForkOrigin } from "@agent-engine/protocol/events.ts";
import type { AgentConfig, ModelChoice } from "@agent-engine/protocol/resources.ts";

/** What is different in a fork; each field is optional but the last two. */
export interface ForkChanges {
  instructions?: string;
  model?: ModelChoice;
  /** In place of the message that the original run answers. */
  message?: string;
  /** In place of recorded results, by tool call of the original run. */
  toolResults?: Record<string, string>;
  /** Answer calls that the original made with what it was answered. */
  reuseToolResults: boolean;
  /** Let tools that change something act as the agent allows; otherwise a person approves each such call. */
  allowSideEffects: boolean;
}

/** What a forked run carries with it, from worker to worker. The message is in its log. */
export interface ForkSettings extends Omit<ForkChanges, "message"> {
  from: ForkOrigin;
}

/** The agent's version as this fork executes it. */
export function forkedAgent(config: AgentConfig, { instructions, model }: ForkSettings): AgentConfig {
  return {
    ...config,
    ...(instructions === undefined ? {} : { instructions }),
    ...(model === undefined ? {} : { model }),
  };
}
