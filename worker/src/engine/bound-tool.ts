import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type {
  JsonSchema,
  ToolAnswer,
  ToolConnection,
  ToolDescription,
  ToolRequest,
} from "@agent-engine/core/toolkits/toolkit.ts";
import type { ApprovalRules } from "@agent-engine/protocol/resources.ts";
import type { ToolInvocation } from "./effects.ts";
import type { ReusedOutcome } from "./tool-outcome.ts";
import type { Circuit } from "./circuit.ts";
import type { RateLimit } from "./rate-limit.ts";

/** A tool as one run may use it: its agent's policy applied, its connection and context bound. */
export interface BoundTool {
  description: ToolDescription;
  /** The toolkit's name, for what is shown to staff. */
  toolkit: string;
  /** Where its calls go, for what is shown to staff and for its circuit; null for what is built in. */
  host: string | null;
  /** Shared by the tenant's runs; none for what is built in. */
  circuit?: Circuit;
  /** Shared by the tenant's runs: when the other side wants to be left alone. */
  rateLimit?: RateLimit;
  /** `approve`: a person decides before each call. Tools that are `off` are not bound at all. */
  policy: "auto" | "approve";
  /** Who may approve a call, and for how long; anyone within a day by default. */
  approval?: ApprovalRules;
  /** How long one attempt may take. */
  deadlineMs: number;
  /** Null when the arguments fit the tool's parameters; otherwise what is wrong, in words a model can act on. */
  checkArguments(value: unknown): string | null;
  /**
   * In a fork: how an identical call ended in the run that it was forked from. Then that is this call's outcome, nobody
   * is asked and nothing is sent. Asked once for each call, in the order of the calls.
   */
  recall?(invocation: ToolInvocation): ReusedOutcome | null;
  /** Whose account its calls act with; absent where they need none. */
  account?: ToolAccount;
  /** A tool that the visitor's browser answers, not we: what to ask it. Then `call` is never called. */
  ask?(invocation: ToolInvocation): VisitorQuestion;
  call(request: Omit<ToolRequest, "context">): Promise<ToolAnswer>;
  classifyFailure(error: unknown): Failure;
}

export const DEFAULT_APPROVAL: ApprovalRules = { by: "anyone", expiresInSeconds: 86_400 };

export interface ToolAccount {
  toolkitId: string;
  /** The toolkit's, for people: "Gmail". */
  title: string;
  /** The run's visitor can connect theirs in the chat; otherwise somebody of the staff must. */
  mayConnect: boolean;
  /**
   * The active connection, null where there is none. Asked before a person approves the call, and anew before each
   * attempt. A rejection says that nothing could be found out: nothing is sent, and it is asked again.
   */
  connect(): Promise<ToolConnection | null>;
}

/** What is asked of the visitor's browser: it becomes an interrupt `client_tool`. */
export interface VisitorQuestion {
  /** Human words for whoever waits. */
  message: string;
  metadata: Record<string, unknown>;
  /** JSON Schema of the answer. */
  responseSchema?: JsonSchema;
  expiresInMs: number;
}
