import type { HandOver } from "../../conversations/hand-over.ts";
import type { PlanFollowUp } from "../../schedules/plan-follow-up.ts";
import { toolName } from "../tool-name.ts";
import type { ToolAnswer, ToolDescription, ToolQuestion, ToolRequest } from "../toolkit.ts";

/** What the tools act through; the worker binds it to a run. */
export interface BuiltinDeps {
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Somebody is there who can be asked. */
  hasVisitor: boolean;
  /** What the agent plans for later; the same `callKey` plans it once. */
  planFollowUp(input: PlanFollowUp): Promise<{ at: string } | Refused>;
  /** The team answers from now on; again: nothing happens. */
  handOver(input: HandOver): Promise<{ handedOver: true } | Refused>;
}

/** Nothing was done, and why, in words that a model can act on. */
export interface Refused {
  problem: string;
}

/** One tool: what it says of itself, and what it does. */
export interface BuiltinTool {
  /** Without its namespace. */
  short: string;
  description: ToolDescription;
  call(request: ToolRequest): Promise<ToolAnswer> | ToolAnswer;
  /** Of one that the visitor's page answers in its place. */
  ask?(args: Readonly<Record<string, unknown>>): ToolQuestion;
}

/** What a tool says of itself besides its name: none of them needs a connection. */
export type BuiltinDescription = Omit<ToolDescription, "name" | "scopes" | "connection">;

export const BUILTIN = "builtin";

export function builtinTool(short: string, description: BuiltinDescription, call: BuiltinTool["call"]): BuiltinTool {
  return {
    short,
    description: { ...description, name: toolName(BUILTIN, short), scopes: [], connection: "none" },
    call,
  };
}
