/**
 * The events of a conversation's log: the AG-UI 1.0 events we use, and our own facts as `CUSTOM` events.
 * Source of the AG-UI shapes: `@ag-ui/core` 1.0.0; `events.test.ts` holds them against its validators.
 * Written as string literals rather than its enum so that browsers load none of its code.
 */

/** Our key inside AG-UI's open `metadata`. */
export const METADATA_KEY = "agentEngine";

export interface Metadata {
  [key: string]: unknown;
}

/** What a budget holds back, the most of it last. */
export type BudgetAction = "none" | "warn" | "fallback" | "without_tools" | "stop";

export interface TokenUsage {
  provider?: string;
  model?: string;
  inputTokens?: number;
  outputTokens?: number;
  totalTokens?: number;
  reasoningTokens?: number;
  cachedInputTokens?: number;
}

export type InterruptReason = "approval" | "connection" | "client_tool" | "operator";

/** AG-UI's interrupt; `reason` says what the run waits for, `metadata` carries what a person needs to decide. */
export interface Interrupt {
  id: string;
  reason: InterruptReason;
  message?: string;
  toolCallId?: string;
  responseSchema?: Record<string, unknown>;
  /** ISO 8601 UTC. */
  expiresAt?: string;
  metadata?: Metadata;
}

export type RunOutcome = { type: "success" } | { type: "cancelled" } | { type: "interrupt"; interrupts: Interrupt[] };

/** Why a run ended: `stop` the model was done, `limit` a limit of the agent was reached, `cancelled` a person stopped it. */
export type FinishReason = "stop" | "limit" | "cancelled" | "content_filter";

export interface RunResult {
  finishReason: FinishReason;
}

export type RunStarted = { type: "RUN_STARTED"; threadId: string; runId: string };
export type RunFinished = {
  type: "RUN_FINISHED";
  threadId: string;
  runId: string;
  outcome: RunOutcome;
  result?: RunResult;
  usage?: TokenUsage[];
};
export type RunErrored = { type: "RUN_ERROR"; message: string; code?: string; usage?: TokenUsage[] };
export type StepStarted = { type: "STEP_STARTED"; stepName: string };
export type StepFinished = { type: "STEP_FINISHED"; stepName: string };
export type TextMessageStart = {
  type: "TEXT_MESSAGE_START";
  messageId: string;
  role: "user" | "assistant";
  /** Set on an operator's message: who speaks. */
  name?: string;
  metadata?: Metadata;
};
export type TextMessageContent = { type: "TEXT_MESSAGE_CONTENT"; messageId: string; delta: string };
export type TextMessageEnd = { type: "TEXT_MESSAGE_END"; messageId: string; metadata?: Metadata };
export type ToolCallStart = {
  type: "TOOL_CALL_START";
  toolCallId: string;
  toolCallName: string;
  parentMessageId?: string;
};
export type ToolCallArgs = { type: "TOOL_CALL_ARGS"; toolCallId: string; delta: string };
export type ToolCallEnd = { type: "TOOL_CALL_END"; toolCallId: string; metadata?: Metadata };
export type ToolCallResult = {
  type: "TOOL_CALL_RESULT";
  messageId: string;
  toolCallId: string;
  content: string;
  role: "tool";
  metadata?: Metadata;
};
export type ReasoningStart = { type: "REASONING_START"; messageId: string };
export type ReasoningMessageStart = { type: "REASONING_MESSAGE_START"; messageId: string; role: "reasoning" };
export type ReasoningMessageContent = { type: "REASONING_MESSAGE_CONTENT"; messageId: string; delta: string };
export type ReasoningMessageEnd = { type: "REASONING_MESSAGE_END"; messageId: string };
export type ReasoningEnd = { type: "REASONING_END"; messageId: string };

/** What a mark `[n]` in an answer's text stands for. */
export interface Citation {
  messageId: string;
  number: number;
  documentId: string;
  title: string;
  url: string | null;
  quote: string;
}

/** The event that a fork began from. */
export interface ForkOrigin {
  runId: string;
  conversationId: string;
  /** The seq in the original's log up to which it was copied. */
  seq: number;
}

/** The values of our `CUSTOM` events by name. */
export interface CustomValues {
  citation: Citation;
  hidden: Record<string, never>;
  "run.queued": { position: number; expectedDelayMs: number };
  "run.retrying": { attempt: number; delayMs: number; reason: string };
  "run.superseded": { messageIds: string[]; toolCallIds: string[] };
  /** Closes the copied beginning of a fork: what it was copied from. Written for staff. */
  "run.forked": ForkOrigin;
  "run.resumed": { interruptId: string; decision: string; by: string };
  /** For staff: what became of a write whose run ended before anybody knew. */
  "call.decided": { runId: string; toolCallId: string; interruptId: string; decision: string; by: string };
  /** For staff: somebody of them changed a call before it was made; this is what was sent. */
  "call.edited": { toolCallId: string; interruptId: string; arguments: Record<string, unknown>; by: string };
  /** How far a call is, in the words of the tool. */
  "tool.progress": { toolCallId: string; text: string };
  /** For staff: a budget begins to hold the run back, or does so more. */
  "budget.reached": {
    budgetId: string;
    name: string;
    subject: "tenant" | "agent" | "visitor";
    subjectId: string;
    period: "day" | "month";
    /** ISO 8601 date. */
    startsOn: string;
    metric: "runs" | "tokens" | "cost";
    percent: number;
    action: BudgetAction;
  };
  "operator.joined": { name: string };
  "operator.left": { name: string };
  "conversation.mode": { mode: "agent" | "operator" };
  "connection.updated": { connectionId: string; status: string };
}

export type CustomName = keyof CustomValues;

export type CustomEvent<Name extends CustomName = CustomName> = {
  [N in Name]: { type: "CUSTOM"; name: N; value: CustomValues[N] };
}[Name];

export type ConversationEvent =
  | RunStarted
  | RunFinished
  | RunErrored
  | StepStarted
  | StepFinished
  | TextMessageStart
  | TextMessageContent
  | TextMessageEnd
  | ToolCallStart
  | ToolCallArgs
  | ToolCallEnd
  | ToolCallResult
  | ReasoningStart
  | ReasoningMessageStart
  | ReasoningMessageContent
  | ReasoningMessageEnd
  | ReasoningEnd
  | CustomEvent;

/** Builds one of our `CUSTOM` events, with its value checked by name. */
export function custom<Name extends CustomName>(name: Name, value: CustomValues[Name]): CustomEvent<Name> {
  return { type: "CUSTOM", name, value };
}

export type RunTerminal = Extract<ConversationEvent, { type: "RUN_FINISHED" | "RUN_ERROR" }>;

/** True for the events after which a run never writes again: `success`, `cancelled`, `RUN_ERROR`; not an interrupt. */
export function isTerminal(event: ConversationEvent): event is RunTerminal {
  if (event.type === "RUN_ERROR") return true;
  return event.type === "RUN_FINISHED" && event.outcome.type !== "interrupt";
}
