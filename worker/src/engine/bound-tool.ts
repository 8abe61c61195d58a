import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolAnswer, ToolDescription, ToolRequest } from "@agent-engine/core/toolkits/toolkit.ts";
import type { ToolInvocation } from "./effects.ts";
import type { ReusedOutcome } from "./tool-outcome.ts";
import type { Circuit } from "./circuit.ts";

/** A tool as one run may use it: its agent's policy applied, its connection and context bound. */
export interface BoundTool {
  description: ToolDescription;
  /** The toolkit's name, for what is shown to staff. */
  toolkit: string;
  /** Where its calls go, for what is shown to staff and for its circuit; null for what is built in. */
  host: string | null;
  /** Shared by the tenant's runs; none for what is built in. */
  circuit?: Circuit;
  /** `approve`: a person decides before each call. Tools that are `off` are not bound at all. */
  policy: "auto" | "approve";
  /** How long one attempt may take. */
  deadlineMs: number;
  /** Null when the arguments fit the tool's parameters; otherwise what is wrong, in words a model can act on. */
  checkArguments(value: unknown): string | null;
  /**
   * In a fork: how an identical call ended in the run that it was forked from. Then that is this call's outcome, nobody
   * is asked and nothing is sent. Asked once for each call, in the order of the calls.
   */
  recall?(invocation: ToolInvocation): ReusedOutcome | null;
  call(request: Omit<ToolRequest, "connection" | "context">): Promise<ToolAnswer>;
  classifyFailure(error: unknown): Failure;
}
