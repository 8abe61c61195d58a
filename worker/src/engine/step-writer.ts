import { reusedMetadata, type ReusedFrom } from "@agent-engine/core/runs/reused-from.ts";
import { closeBrackets, type OpenBrackets } from "@agent-engine/protocol/brackets.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import type { SourceBook } from "./citations.ts";
import { DeltaText } from "./delta-text.ts";
import type { EngineEffects } from "./effects.ts";

/** Characters that may wait for a commit before the model is read on: a slow database slows the model, not the memory. */
const MAX_UNFLUSHED_LENGTH = 64_000;

interface OpenCall {
  toolCallId: string;
  args: DeltaText;
  argumentsText: string;
  /** Arguments are for staff unless the tool shows them. */
  audience: "all" | "staff";
}

/** A call as the model asked for it. */
export interface RequestedCall {
  toolCallId: string;
  name: string;
  /** As the model wrote it: perhaps not JSON. */
  argumentsText: string;
}

/**
 * Writes the events of one attempt at one model turn and keeps its brackets. Called for every token: it allocates
 * nothing beyond the event itself.
 */
export class StepWriter {
  readonly stepName: string;
  readonly messageIds: string[] = [];
  readonly calls: RequestedCall[] = [];
  /** Everything the assistant said in this turn. */
  text = "";
  #effects: EngineEffects;
  #sources: SourceBook;
  #isOpen = false;
  #messageId: string | null = null;
  #messageText = "";
  #textPieces = new DeltaText();
  #reasoningId: string | null = null;
  #reasoningPieces = new DeltaText();
  #openCalls = new Map<string, OpenCall>();
  #unflushedLength = 0;

  constructor(stepName: string, effects: EngineEffects, sources: SourceBook) {
    this.stepName = stepName;
    this.#effects = effects;
    this.#sources = sources;
  }

  openStep(): void {
    this.#isOpen = true;
    this.#effects.emit({ type: "STEP_STARTED", stepName: this.stepName });
  }

  closeStep(): void {
    this.#isOpen = false;
    this.#effects.emit({ type: "STEP_FINISHED", stepName: this.stepName });
  }

  /** True when so much waits for the database that the model should not be read on before a flush. */
  get mustFlush(): boolean {
    return this.#unflushedLength > MAX_UNFLUSHED_LENGTH;
  }

  async flush(): Promise<void> {
    this.#unflushedLength = 0;
    await this.#effects.flush();
  }

  writeText(delta: string): void {
    const piece = this.#textPieces.take(delta);
    if (piece !== "") this.#writeText(piece);
  }

  #writeText(piece: string): void {
    if (this.#messageId === null) {
      this.#endReasoning();
      this.#messageId = this.#effects.newId("msg");
      this.#messageText = "";
      this.messageIds.push(this.#messageId);
      this.#effects.emit({ type: "TEXT_MESSAGE_START", messageId: this.#messageId, role: "assistant" });
    }
    this.#messageText += piece;
    this.#unflushedLength += piece.length;
    this.#effects.emit({ type: "TEXT_MESSAGE_CONTENT", messageId: this.#messageId, delta: piece });
  }

  writeReasoning(delta: string): void {
    const piece = this.#reasoningPieces.take(delta);
    if (piece === "") return;
    if (this.#reasoningId === null) {
      const messageId = this.#effects.newId("msg");
      this.#reasoningId = messageId;
      this.#effects.emit({ type: "REASONING_START", messageId }, "staff");
      this.#effects.emit({ type: "REASONING_MESSAGE_START", messageId, role: "reasoning" }, "staff");
    }
    this.#unflushedLength += piece.length;
    this.#effects.emit({ type: "REASONING_MESSAGE_CONTENT", messageId: this.#reasoningId, delta: piece }, "staff");
  }

  #endReasoning(): void {
    if (this.#reasoningId === null) return;
    this.#effects.emit({ type: "REASONING_MESSAGE_END", messageId: this.#reasoningId }, "staff");
    this.#effects.emit({ type: "REASONING_END", messageId: this.#reasoningId }, "staff");
    this.#reasoningId = null;
  }

  /** Closes the text with the citations it made. */
  #endText(): void {
    const rest = this.#textPieces.rest();
    if (rest !== "") this.#writeText(rest);
    if (this.#messageId === null) return;
    this.#cite(this.#messageId);
    this.#effects.emit({ type: "TEXT_MESSAGE_END", messageId: this.#messageId });
    this.#settleText();
  }

  #settleText(): void {
    this.text += this.text === "" ? this.#messageText : `\n\n${this.#messageText}`;
    this.#messageId = null;
    this.#messageText = "";
  }

  #cite(messageId: string): void {
    for (const citation of this.#sources.citationsIn(messageId, this.#messageText)) {
      this.#effects.emit(custom("citation", citation));
    }
  }

  /** @param modelCallId the model's own id, which may repeat in another turn: ours takes its place in the log */
  startCall(modelCallId: string, name: string, audience: "all" | "staff"): void {
    this.#endReasoning();
    this.#endText();
    const toolCallId = this.#effects.newId("call");
    this.#openCalls.set(modelCallId, { toolCallId, args: new DeltaText(), argumentsText: "", audience });
    this.calls.push({ toolCallId, name, argumentsText: "" });
    const parentMessageId = this.messageIds.at(-1);
    this.#effects.emit({
      type: "TOOL_CALL_START",
      toolCallId,
      toolCallName: name,
      ...(parentMessageId === undefined ? {} : { parentMessageId }),
    });
  }

  isCallOpen(modelCallId: string): boolean {
    return this.#openCalls.has(modelCallId);
  }

  writeArguments(modelCallId: string, delta: string): void {
    const call = this.#openCalls.get(modelCallId);
    if (call) this.#writeArguments(call, call.args.take(delta));
  }

  #writeArguments(call: OpenCall, piece: string): void {
    if (piece === "") return;
    call.argumentsText += piece;
    this.#unflushedLength += piece.length;
    this.#effects.emit({ type: "TOOL_CALL_ARGS", toolCallId: call.toolCallId, delta: piece }, call.audience);
  }

  /** Closes a call. `input`, the arguments in whole, stands in when none were streamed. */
  endCall(modelCallId: string, input: string): void {
    const call = this.#openCalls.get(modelCallId);
    if (!call) return;
    this.#openCalls.delete(modelCallId);
    this.#writeArguments(call, call.args.rest());
    if (call.argumentsText === "") this.#writeArguments(call, new DeltaText().take(input));
    this.#effects.emit({ type: "TOOL_CALL_END", toolCallId: call.toolCallId });
    const requested = this.calls.find((entry) => entry.toolCallId === call.toolCallId);
    if (requested) requested.argumentsText = call.argumentsText;
  }

  /** Ends a complete turn; the step stays open for the tools' results. */
  endTurn(): void {
    this.#endReasoning();
    this.#endText();
    for (const modelCallId of [...this.#openCalls.keys()]) this.endCall(modelCallId, "");
  }

  /** Gives a call of this turn its result. */
  answer(toolCallId: string, content: string, audience: "all" | "staff"): void {
    emitResult(this.#effects, toolCallId, content, audience);
  }

  /**
   * Closes everything of a turn cut short, the step included. Text is marked incomplete and keeps its citations;
   * calls get `answer` as their result where one is given.
   */
  abandon(answer?: string): void {
    const rest = this.#textPieces.rest();
    if (rest !== "" && this.#messageId !== null) this.#writeText(rest);
    if (this.#messageId !== null) this.#cite(this.#messageId);
    const open: OpenBrackets = {
      stepName: this.#isOpen ? this.stepName : null,
      messageId: this.#messageId,
      reasoningId: this.#reasoningId,
      reasoningMessageOpen: this.#reasoningId !== null,
      openCalls: [...this.#openCalls.values()].map((call) => call.toolCallId),
      unanswered: this.calls.map((call) => call.toolCallId),
    };
    const options =
      answer === undefined ? {} : { answer: { content: answer, newMessageId: () => this.#effects.newId("msg") } };
    for (const event of closeBrackets(open, options))
      this.#effects.emit(event, isReasoning(event.type) ? "staff" : "all");
    if (this.#messageId !== null) this.#settleText();
    this.#isOpen = false;
    this.#reasoningId = null;
    this.#openCalls.clear();
  }
}

function isReasoning(type: string): boolean {
  return type.startsWith("REASONING_");
}

/** Writes a tool call's result; for staff unless the tool shows its results. */
export function emitResult(
  effects: EngineEffects,
  toolCallId: string,
  content: string,
  audience: "all" | "staff",
  reused?: ReusedFrom,
): void {
  effects.emit(
    {
      type: "TOOL_CALL_RESULT",
      messageId: effects.newId("msg"),
      toolCallId,
      content,
      role: "tool",
      ...(reused ? { metadata: reusedMetadata(reused) } : {}),
    },
    audience,
  );
}
