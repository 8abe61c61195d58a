import type { Citation, FinishReason, Interrupt, TokenUsage } from "./events.ts";

/** The fold of a conversation's log: everything a person sees. Plain data, never mutated. */
export interface ConversationState {
  /** The cursor: the last seq applied. */
  lastSeq: number;
  mode: "agent" | "operator";
  messages: readonly MessageState[];
  toolCalls: readonly ToolCallState[];
  runs: Readonly<Record<string, RunState>>;
  /** The run that is running or waiting, if any. */
  activeRunId: string | null;
}

export interface MessageState {
  id: string;
  /** Seq of its start: orders messages and tool calls together. */
  seq: number;
  runId: string | null;
  stepName: string | null;
  role: "user" | "assistant";
  name: string | null;
  text: string;
  /** `incomplete`: its run was cancelled or failed mid-sentence; the text so far stays. */
  status: "streaming" | "complete" | "incomplete";
  citations: readonly Citation[];
  at: string;
}

export interface ToolCallState {
  id: string;
  seq: number;
  runId: string | null;
  stepName: string | null;
  name: string;
  parentMessageId: string | null;
  /** The arguments as JSON text; empty where the reader may not see them. */
  args: string;
  /** `calling`: arguments still stream in; `running`: being executed; `done`: over, also when its result is not this reader's to see. */
  status: "calling" | "running" | "done";
  result: string | null;
  /** How far it is, in the tool's words; absent until it says so. */
  progress?: string;
  at: string;
}

/** Where a run that waits for a place is in line; 1 is next. */
export interface QueuePlace {
  position: number;
  expectedDelayMs: number;
}

interface RunBase {
  id: string;
  startedAt: string | null;
  stepName: string | null;
  usage: readonly TokenUsage[];
}

export type RunState = RunBase &
  (
    | { status: "queued"; queue: QueuePlace | null }
    | { status: "running"; retry: { attempt: number; delayMs: number; reason: string } | null }
    | { status: "waiting"; interrupts: readonly Interrupt[] }
    | { status: "completed"; finishReason: FinishReason; finishedAt: string }
    | { status: "cancelled"; finishedAt: string }
    | { status: "failed"; error: { code: string; message: string }; finishedAt: string }
  );

export const initialState: ConversationState = {
  lastSeq: 0,
  mode: "agent",
  messages: [],
  toolCalls: [],
  runs: {},
  activeRunId: null,
};
