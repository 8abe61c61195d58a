/**
 * The conversation so far as model messages, cut into turns that a budget can drop whole: a call is never parted from
 * its result.
 */
import type {
  LanguageModelV4Message,
  LanguageModelV4ToolCallPart,
  LanguageModelV4ToolResultPart,
} from "@ai-sdk/provider";
import type { ConversationState, MessageState, ToolCallState } from "@agent-engine/protocol/state.ts";
import { MISSING_RESULT } from "./tool-outcome.ts";

/** What one run, or an operator between two runs, added to the conversation. */
export interface Turn {
  runId: string | null;
  messages: LanguageModelV4Message[];
}

type Item = { seq: number; message: MessageState } | { seq: number; call: ToolCallState };

/** A group of items that becomes one assistant message and, when it has calls, one message with their results. */
interface StepItems {
  stepName: string | null;
  texts: string[];
  calls: ToolCallState[];
}

/**
 * Turns in the order in which they were asked, the given run's last. Messages of runs that have not begun are left
 * out: their turn comes. Results in `results` win over those in the state.
 */
export function conversationTurns(
  state: ConversationState,
  runId: string,
  results: ReadonlyMap<string, string> = new Map(),
): Turn[] {
  const groups = new Map<string, Item[]>();
  for (const item of itemsInOrder(state)) {
    const owner = "message" in item ? item.message : item.call;
    if (owner.runId !== null && owner.runId !== runId && state.runs[owner.runId]?.status === "queued") continue;
    const key = owner.runId ?? owner.id;
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  const current = groups.get(runId) ?? [];
  groups.delete(runId);
  const turns: Turn[] = [];
  for (const items of groups.values()) turns.push({ runId: runOf(items), messages: messagesOf(items, results) });
  turns.push({ runId, messages: messagesOf(current, results) });
  return turns.filter((turn) => turn.messages.length > 0);
}

function itemsInOrder(state: ConversationState): Item[] {
  const items: Item[] = [];
  for (const message of state.messages) items.push({ seq: message.seq, message });
  for (const call of state.toolCalls) items.push({ seq: call.seq, call });
  return items.sort((a, b) => a.seq - b.seq);
}

function runOf(items: readonly Item[]): string | null {
  const [first] = items;
  if (!first) return null;
  return "message" in first ? first.message.runId : first.call.runId;
}

function messagesOf(items: readonly Item[], results: ReadonlyMap<string, string>): LanguageModelV4Message[] {
  const messages: LanguageModelV4Message[] = [];
  let step: StepItems | null = null;
  const endStep = () => {
    if (step) messages.push(...stepMessages(step, results));
    step = null;
  };
  for (const item of items) {
    const { stepName } = "message" in item ? item.message : item.call;
    if ("message" in item && item.message.role === "user") {
      endStep();
      if (item.message.text !== "") messages.push(userMessage(item.message.text));
      continue;
    }
    if (step === null || stepName === null || step.stepName !== stepName) {
      endStep();
      step = { stepName, texts: [], calls: [] };
    }
    if ("call" in item) step.calls.push(item.call);
    else if (item.message.text !== "") step.texts.push(spoken(item.message));
  }
  endStep();
  return messages;
}

export function userMessage(text: string): LanguageModelV4Message {
  return { role: "user", content: [{ type: "text", text }] };
}

/** A person's words are told apart from the model's own, or it would believe that it had said them. */
function spoken(message: MessageState): string {
  return message.name === null ? message.text : `[${message.name}, a person from the team, wrote:] ${message.text}`;
}

function stepMessages(step: StepItems, results: ReadonlyMap<string, string>): LanguageModelV4Message[] {
  const text = step.texts.join("\n\n");
  const calls = step.calls.map((call) => ({
    toolCallId: call.id,
    name: call.name,
    arguments: parsedArguments(call.args),
    result: results.get(call.id) ?? call.result ?? MISSING_RESULT,
  }));
  return assistantMessages(text, calls);
}

export interface AnsweredCall {
  toolCallId: string;
  name: string;
  arguments: Record<string, unknown>;
  result: string;
}

/** What the assistant said and asked for in one step, and the answers it got. */
export function assistantMessages(text: string, calls: readonly AnsweredCall[]): LanguageModelV4Message[] {
  if (text === "" && calls.length === 0) return [];
  const asked = calls.map((call): LanguageModelV4ToolCallPart => ({
    type: "tool-call",
    toolCallId: call.toolCallId,
    toolName: callableName(call.name),
    input: call.arguments,
  }));
  const content = text === "" ? asked : [{ type: "text" as const, text }, ...asked];
  const messages: LanguageModelV4Message[] = [{ role: "assistant", content }];
  if (calls.length > 0) {
    const answered = calls.map((call): LanguageModelV4ToolResultPart => ({
      type: "tool-result",
      toolCallId: call.toolCallId,
      toolName: callableName(call.name),
      output: { type: "text", value: call.result },
    }));
    messages.push({ role: "tool", content: answered });
  }
  return messages;
}

/** A model may have invented a name that the vendors' APIs then refuse to read back. */
function callableName(name: string): string {
  return name.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64) || "unknown";
}

/** The arguments as an object: what a model sent may be cut off, or no object at all. */
export function parsedArguments(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}
