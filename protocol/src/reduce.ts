/**
 * The reducer: the only code that turns events into state. Pure: the input state is never touched, an event it does
 * not know changes nothing but the cursor. Order is the caller's business (`deliver.ts`).
 */
import type { Envelope } from "./envelope.ts";
import { METADATA_KEY, type ConversationEvent } from "./events.ts";
import type { ConversationState, MessageState, RunState, ToolCallState } from "./state.ts";

/** Folds envelopes, which must follow the state's cursor without gaps, into a new state. */
export function reduce(state: ConversationState, envelopes: readonly Envelope[]): ConversationState {
  if (envelopes.length === 0) return state;
  const draft = new Draft(state);
  for (const envelope of envelopes) draft.apply(envelope);
  return draft.finish();
}

/** Copies on first write, so a batch of a thousand deltas costs one copy of what it touches. */
class Draft {
  #state: { -readonly [K in keyof ConversationState]: ConversationState[K] };
  #messages: MessageState[] | null = null;
  #toolCalls: ToolCallState[] | null = null;
  #runs: Record<string, RunState> | null = null;
  #owned = new WeakSet<object>();

  constructor(state: ConversationState) {
    this.#state = { ...state };
  }

  finish(): ConversationState {
    return this.#state;
  }

  apply(envelope: Envelope): void {
    this.#state.lastSeq = envelope.seq;
    this.#event(envelope, envelope.event);
  }

  #event(envelope: Envelope, event: ConversationEvent): void {
    switch (event.type) {
      case "TEXT_MESSAGE_START":
        this.#addMessage({
          id: event.messageId,
          seq: envelope.seq,
          runId: envelope.runId,
          stepName: this.#stepOf(envelope.runId),
          role: event.role === "user" ? "user" : "assistant",
          name: event.name ?? null,
          text: "",
          status: "streaming",
          citations: [],
          at: envelope.at,
        });
        if (event.role === "user" && envelope.runId !== null && !this.#state.runs[envelope.runId]) {
          this.#setRun({ ...newRun(envelope.runId), status: "queued", queue: null });
        }
        return;
      case "TEXT_MESSAGE_CONTENT": {
        const message = this.#message(event.messageId);
        if (message) message.text += event.delta;
        return;
      }
      case "TEXT_MESSAGE_END": {
        const message = this.#message(event.messageId);
        if (message) message.status = isIncomplete(event.metadata) ? "incomplete" : "complete";
        return;
      }
      case "TOOL_CALL_START":
        this.#addToolCall({
          id: event.toolCallId,
          seq: envelope.seq,
          runId: envelope.runId,
          stepName: this.#stepOf(envelope.runId),
          name: event.toolCallName,
          parentMessageId: event.parentMessageId ?? null,
          args: "",
          status: "calling",
          result: null,
          at: envelope.at,
        });
        return;
      case "TOOL_CALL_ARGS": {
        const call = this.#toolCall(event.toolCallId);
        if (call) call.args += event.delta;
        return;
      }
      case "TOOL_CALL_END": {
        const call = this.#toolCall(event.toolCallId);
        if (call && call.status === "calling") call.status = "running";
        return;
      }
      case "TOOL_CALL_RESULT": {
        const call = this.#toolCall(event.toolCallId);
        if (call) {
          call.status = "done";
          call.result = event.content;
        }
        return;
      }
      case "RUN_STARTED": {
        const before = this.#state.runs[event.runId] ?? newRun(event.runId);
        this.#setRun({ ...baseOf(before), startedAt: before.startedAt ?? envelope.at, status: "running", retry: null });
        this.#state.activeRunId = event.runId;
        return;
      }
      case "RUN_FINISHED":
        this.#finishRun(envelope, event);
        return;
      case "RUN_ERROR": {
        if (envelope.runId === null) return;
        const base = baseOf(this.#state.runs[envelope.runId] ?? newRun(envelope.runId));
        this.#setRun({
          ...base,
          usage: event.usage ?? base.usage,
          status: "failed",
          error: { code: event.code ?? "internal", message: event.message },
          finishedAt: envelope.at,
        });
        this.#release(envelope.runId);
        return;
      }
      case "STEP_STARTED":
        this.#endCalls(envelope.runId, event.stepName);
        this.#setStep(envelope.runId, event.stepName);
        return;
      case "STEP_FINISHED":
        this.#setStep(envelope.runId, null);
        return;
      case "CUSTOM":
        this.#custom(envelope, event);
        return;
      default:
        // Reasoning is read from the log by those who show it; anything newer than this code changes nothing.
        return;
    }
  }

  #custom(envelope: Envelope, event: Extract<ConversationEvent, { type: "CUSTOM" }>): void {
    const run = envelope.runId === null ? undefined : this.#state.runs[envelope.runId];
    switch (event.name) {
      case "citation": {
        const message = this.#message(event.value.messageId);
        if (message) message.citations = [...message.citations, event.value];
        return;
      }
      case "run.queued":
        if (run?.status === "queued") this.#setRun({ ...run, queue: event.value });
        return;
      case "run.retrying":
        if (run?.status === "running") this.#setRun({ ...run, retry: event.value });
        return;
      case "run.resumed":
        // The others are still to be decided; with none left the run is about to go on.
        if (run?.status === "waiting") {
          const interrupts = run.interrupts.filter(({ id }) => id !== event.value.interruptId);
          this.#setRun({ ...run, interrupts });
        }
        return;
      case "run.superseded": {
        const gone = new Set([...event.value.messageIds, ...event.value.toolCallIds]);
        this.#messages = this.#state.messages.filter((message) => !gone.has(message.id));
        this.#toolCalls = this.#state.toolCalls.filter((call) => !gone.has(call.id));
        this.#state.messages = this.#messages;
        this.#state.toolCalls = this.#toolCalls;
        if (run?.status === "running") this.#setRun({ ...run, retry: null });
        return;
      }
      case "tool.progress": {
        const call = this.#toolCall(event.value.toolCallId);
        if (call) call.progress = event.value.text;
        return;
      }
      case "conversation.mode":
        this.#state.mode = event.value.mode;
        return;
      default:
        return;
    }
  }

  #finishRun(envelope: Envelope, event: Extract<ConversationEvent, { type: "RUN_FINISHED" }>): void {
    const before = baseOf(this.#state.runs[event.runId] ?? newRun(event.runId));
    const base = { ...before, usage: event.usage ?? before.usage };
    switch (event.outcome.type) {
      case "interrupt":
        this.#setRun({ ...base, status: "waiting", interrupts: event.outcome.interrupts });
        return;
      case "cancelled":
        this.#setRun({ ...base, status: "cancelled", finishedAt: envelope.at });
        break;
      case "success":
        this.#setRun({
          ...base,
          status: "completed",
          finishReason: event.result?.finishReason ?? "stop",
          finishedAt: envelope.at,
        });
        break;
      default:
        return;
    }
    this.#release(event.runId);
  }

  #release(runId: string): void {
    this.#endCalls(runId, null);
    if (this.#state.activeRunId === runId) this.#state.activeRunId = null;
  }

  #stepOf(runId: string | null): string | null {
    return runId === null ? null : (this.#state.runs[runId]?.stepName ?? null);
  }

  /** A run's calls are over when it goes on to another step or ends: their results may be hidden from this reader. */
  #endCalls(runId: string | null, exceptStep: string | null): void {
    const over = ({ runId: of, status, stepName }: ToolCallState) =>
      of === runId && status !== "done" && (exceptStep === null || stepName !== exceptStep);
    for (const { id } of this.#state.toolCalls.filter(over)) {
      const call = this.#toolCall(id);
      if (call) call.status = "done";
    }
  }

  #setStep(runId: string | null, stepName: string | null): void {
    const run = runId === null ? undefined : this.#state.runs[runId];
    if (run) this.#setRun({ ...run, stepName });
  }

  #setRun(run: RunState): void {
    this.#runs ??= { ...this.#state.runs };
    this.#runs[run.id] = run;
    this.#state.runs = this.#runs;
  }

  #addMessage(message: MessageState): void {
    this.#messages ??= [...this.#state.messages];
    this.#owned.add(message);
    this.#messages.push(message);
    this.#state.messages = this.#messages;
  }

  #addToolCall(call: ToolCallState): void {
    this.#toolCalls ??= [...this.#state.toolCalls];
    this.#owned.add(call);
    this.#toolCalls.push(call);
    this.#state.toolCalls = this.#toolCalls;
  }

  #message(id: string): MessageState | undefined {
    this.#messages ??= [...this.#state.messages];
    this.#state.messages = this.#messages;
    return this.#own(this.#messages, id);
  }

  #toolCall(id: string): ToolCallState | undefined {
    this.#toolCalls ??= [...this.#state.toolCalls];
    this.#state.toolCalls = this.#toolCalls;
    return this.#own(this.#toolCalls, id);
  }

  /** Finds by id, newest first, and replaces the entry by a copy this draft may write to. */
  #own<T extends { id: string }>(list: T[], id: string): T | undefined {
    for (let i = list.length - 1; i >= 0; i--) {
      const entry = list[i];
      if (entry === undefined || entry.id !== id) continue;
      if (this.#owned.has(entry)) return entry;
      const copy = { ...entry };
      this.#owned.add(copy);
      list[i] = copy;
      return copy;
    }
    return undefined;
  }
}

function newRun(id: string): RunState {
  return { id, startedAt: null, stepName: null, usage: [], status: "queued", queue: null };
}

function baseOf(run: RunState): Pick<RunState, "id" | "startedAt" | "stepName" | "usage"> {
  return { id: run.id, startedAt: run.startedAt, stepName: run.stepName, usage: run.usage };
}

function isIncomplete(metadata: Record<string, unknown> | undefined): boolean {
  const ours = metadata?.[METADATA_KEY];
  return typeof ours === "object" && ours !== null && "incomplete" in ours && ours.incomplete === true;
}
