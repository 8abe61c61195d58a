/** Everything the engine may do to the world. Whoever runs it supplies these; tests do so without a database. */
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolEffect } from "@agent-engine/core/toolkits/toolkit.ts";
import type { Audience } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { ToolOutcome } from "./tool-outcome.ts";

export interface EngineEffects {
  /** Ordered and buffered; adjacent deltas are coalesced outside. Never throws. Default audience: `all`. */
  emit(event: ConversationEvent, audience?: Audience): void;
  /** Resolves when everything emitted is committed. Rejects when the lease is lost. */
  flush(): Promise<void>;
  /** ONE transaction: everything emitted so far, the step's row, an intent for each of its invocations. */
  recordToolStep(step: RecordedStep): Promise<void>;
  /** Marks the invocation as sent (attempt + 1), before the call is made. Rejects when the lease is lost. */
  beginInvocation(invocation: ToolInvocation): Promise<void>;
  /** Keeps why the last attempt of an invocation failed that has not ended with it. Never rejects: it is for statistics. */
  recordFailure(invocation: ToolInvocation, failure: Failure): Promise<void>;
  /** Records how the invocation ended, once; resolves when that is committed. */
  recordResult(invocation: ToolInvocation, outcome: ToolOutcome): Promise<void>;
  /** Checks the lease on the monotonic clock, without I/O; throws when it is lost. */
  assertLease(): void;
  /** Milliseconds since the epoch. */
  now(): number;
  newId(prefix: "msg" | "call" | "int"): string;
  /** Resolves after `ms`; resolves or rejects early, without delay, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** 0 ≤ x < 1. */
  random(): number;
}

/** A model turn that asked for tools, as recorded before any of them runs. */
export interface RecordedStep {
  index: number;
  /** `run_id:step_index`. */
  key: string;
  /** What the assistant said in it. */
  text: string;
  /** The model's usage for this turn. */
  usage: TokenUsage | null;
  /** Only calls of known tools with valid arguments: the others got their result at once. */
  invocations: ToolInvocation[];
}

/** What a person decided about a call that waited for them. */
export type CallDecision =
  /** `edited`: the arguments are a person's, here and below. */
  | { kind: "approve"; by: string; edited?: boolean }
  /** `of`: what was asked for, when it was not an approval. */
  | { kind: "decline"; by: string; reason?: string; of?: string }
  /** Whoever the call needed has connected their account. `attempts`: as with `retry`. */
  | { kind: "connected"; by: string; attempts: number; outcome?: string; edited?: boolean }
  /** What the visitor's browser answered: any JSON. */
  | { kind: "result"; by: string; content: unknown }
  /** The visitor's browser could not answer, or nobody did. */
  | { kind: "error"; by: string; reason?: string }
  /** Send it again. `attempts`: those made when it was decided; a decision is about one attempt, never the next.
   * `outcome`: what was known of them: `unknown`, or `not_done`. `approved`: a person has approved the call. */
  | { kind: "retry"; by: string; attempts: number; outcome?: string; approved?: boolean; edited?: boolean }
  /** Of an unknown outcome: it did happen; `content` is what the model is told about it. */
  | { kind: "done"; by: string; content?: string };

/** Our execution of one tool call. Plain data, as stored. */
export interface ToolInvocation {
  toolCallId: string;
  /** Position among all the calls of the model turn, 0-based. */
  callIndex: number;
  toolName: string;
  effect: ToolEffect;
  /** SHA-256 of `run_id:step_index:call_index`, hex. */
  idempotencyKey: string;
  arguments: Record<string, unknown>;
  /** How often it was begun. 0: certainly never sent. */
  attempts: number;
  /** Milliseconds since the epoch at which it was last begun. */
  startedAt: number | null;
  /** To whom it is sent: kept with it, since a question about it may outlive the agent's version. */
  toolkit?: string | null;
  host?: string | null;
  outcome: ToolOutcome | null;
  decision: CallDecision | null;
}

/**
 * The reason of the run's abort signal when this worker must stop without another word: its lease is lost or the run
 * is handed over. Any other abort is a cancel: the engine closes what is open and returns.
 */
export class RunAbandoned extends Error {
  constructor(why: string) {
    super(`The run is no longer this worker's: ${why}`);
    this.name = "RunAbandoned";
  }
}

/** Throws the signal's reason when the run is no longer this worker's: after it nothing may be written. */
export function throwIfAbandoned(signal: AbortSignal): void {
  if (signal.aborted && signal.reason instanceof RunAbandoned) throw signal.reason;
}
