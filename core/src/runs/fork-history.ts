/**
 * What a fork begins with: the log of a conversation up to an event, as another conversation's own. Pure.
 *
 * Everything is copied that had begun at the event; what it cuts through is closed. The forked run goes on as after a
 * take-over: its recorded model turns stand with their calls, a turn that was not recorded is superseded and made again.
 */
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { custom, type ConversationEvent, type ForkOrigin } from "@agent-engine/protocol/events.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import { closedOthers, closedRun, foldOf, type ForkedEvent } from "./fork-closing.ts";
import { createForkIds, withForkIds, type ForkIds } from "./fork-ids.ts";
import type { CertainOutcome } from "./recorded-outcome.ts";
import { reusedMetadata, type ReusedFrom } from "./reused-from.ts";
import { stepIndexOf } from "./step-name.ts";

/** A recorded tool step of the original run, with what is known of its calls. */
export interface OriginalStep {
  index: number;
  text: string;
  invocations: OriginalInvocation[];
}

export interface OriginalInvocation {
  toolCallId: string;
  callIndex: number;
  key: string;
  tool: string;
  effect: string;
  arguments: unknown;
  toolkit: string | null;
  host: string | null;
  /** How it ended for certain; null while it has not, or when nobody knows. */
  outcome: CertainOutcome | null;
}

export interface ForkSource {
  origin: ForkOrigin;
  /** The log from its beginning up to `origin.seq`. */
  log: readonly StoredEnvelope[];
  /** The message that the run answers: its id, and its text in the fork. */
  message: { id: string; text: string };
  steps: readonly OriginalStep[];
  /** Results given with the fork, by tool call of the original. */
  toolResults: Readonly<Record<string, string>>;
}

export interface ForkedStep {
  index: number;
  text: string;
  invocations: (Omit<OriginalInvocation, "outcome" | "key"> & { outcome: ForkedOutcome | null })[];
}

export type ForkedOutcome = CertainOutcome & { reused: ReusedFrom };

export interface ForkHistory {
  conversationId: string;
  runId: string;
  messageId: string;
  /** The new log, from seq 1. */
  events: ForkedEvent[];
  /** Seq of the run's first event in it. */
  firstSeq: number;
  /** The fold of the new log. */
  state: ConversationState;
  /** The run's recorded steps that stand, as the fork's own. */
  steps: ForkedStep[];
}

/** @param newId makes the ids of everything that the copy holds */
export function forkHistory(
  source: ForkSource,
  newId: (kind: "msg" | "call" | "run" | "int" | "conv") => string,
): ForkHistory {
  const { origin } = source;
  const ids = createForkIds(newId);
  const conversationId = ids.of("conv", origin.conversationId);
  const runId = ids.of("run", origin.runId);
  const runs = runsIn(source.log);
  const invocations = new Map(source.steps.flatMap((step) => step.invocations.map((one) => [one.toolCallId, one])));
  const events = source.log.flatMap((envelope, index) =>
    copies(envelope, index, { source, ids, runs, invocations }).map((event): ForkedEvent => ({
      event: withForkIds(event, ids),
      audience: envelope.audience,
      runId: envelope.runId === null ? null : ids.of("run", envelope.runId),
    })),
  );
  const firstSeq = events.findIndex((entry) => entry.runId === runId) + 1;

  events.push(...closedOthers(events, { conversationId, runId, newId: () => newId("msg") }));
  const steps = standingSteps(source, ids, foldOf(events, conversationId), runId);
  events.push(...closedRun(events, { conversationId, runId, lastStep: steps.at(-1)?.index ?? -1 }));
  events.push({ event: custom("run.forked", origin), audience: "staff", runId });
  const state = foldOf(events, conversationId);
  return { conversationId, runId, messageId: ids.of("msg", source.message.id), events, firstSeq, state, steps };
}

/** The runs that have begun, or failed without: index of the last `RUN_STARTED` of each, -1 where there is none. */
function runsIn(log: readonly StoredEnvelope[]): Map<string, number> {
  const runs = new Map<string, number>();
  for (const [index, { runId, event }] of log.entries()) {
    if (runId === null) continue;
    if (event.type === "RUN_STARTED") runs.set(runId, index);
    else if (event.type === "RUN_ERROR" && !runs.has(runId)) runs.set(runId, -1);
  }
  return runs;
}

interface Copying {
  source: ForkSource;
  ids: ForkIds;
  runs: ReadonlyMap<string, number>;
  invocations: ReadonlyMap<string, OriginalInvocation>;
}

/** What an entry of the log becomes: itself as a rule, and nothing where it belongs to what the fork leaves behind. */
function copies({ event, runId }: StoredEnvelope, index: number, copying: Copying): ConversationEvent[] {
  const { source, runs } = copying;
  if (event.type === "CUSTOM" && LEFT_BEHIND.has(event.name)) return [];
  if (runId === null) return [event];
  const isForked = runId === source.origin.runId;
  // Messages whose turn had not come wait for an answer that the fork is not about.
  if (!isForked) return runs.has(runId) ? [event] : [];
  if ("messageId" in event && event.messageId === source.message.id) {
    return event.type === "TEXT_MESSAGE_START" ? wholeMessage(source) : [];
  }
  // How its last stretch ended: the fork goes on instead.
  const isOfEnd = event.type === "RUN_FINISHED" || event.type === "RUN_ERROR" || isDecision(event);
  if (isOfEnd && index > (runs.get(runId) ?? -1)) return [];
  return event.type === "TOOL_CALL_RESULT" ? copiedResult(event, copying) : [event];
}

/** Facts about the original alone: its place in a queue, who of the team was in it, what it was forked from itself. */
const LEFT_BEHIND: ReadonlySet<string> = new Set([
  "run.queued",
  "run.forked",
  "conversation.mode",
  "call.decided",
  "call.edited",
  "tool.progress",
  "budget.reached",
]);

function isDecision(event: ConversationEvent): boolean {
  return event.type === "CUSTOM" && event.name === "run.resumed";
}

function wholeMessage({ message }: ForkSource): ConversationEvent[] {
  const messageId = message.id;
  return [
    { type: "TEXT_MESSAGE_START", messageId, role: "user" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: message.text },
    { type: "TEXT_MESSAGE_END", messageId },
  ];
}

/** Only what a tool or a person certainly answered stands; what was written for a cancelled call does not. */
function copiedResult(
  event: Extract<ConversationEvent, { type: "TOOL_CALL_RESULT" }>,
  { source, invocations }: Copying,
): ConversationEvent[] {
  const { toolCallId } = event;
  const invocation = invocations.get(toolCallId);
  const given = source.toolResults[toolCallId];
  if (given !== undefined) {
    const key = invocation?.key ?? "";
    return [{ ...event, content: given, metadata: reusedMetadata({ key, toolCallId, isGiven: true }) }];
  }
  // A call that could not be made at all was answered with the turn itself, and belongs to it.
  if (!invocation) return [event];
  return invocation.outcome ? [{ ...event, metadata: reusedMetadata({ key: invocation.key, toolCallId }) }] : [];
}

/** The recorded steps whose model turn lies whole before the event: all their calls were asked for in full. */
function standingSteps(source: ForkSource, ids: ForkIds, state: ConversationState, runId: string): ForkedStep[] {
  const steps: ForkedStep[] = [];
  for (const step of source.steps.toSorted((a, b) => a.index - b.index)) {
    const calls = state.toolCalls.filter((call) => call.runId === runId && stepIndexOf(call.stepName) === step.index);
    const byId = new Map(calls.map((call) => [call.id, call]));
    const invocations = step.invocations.map((one) => ({ ...one, toolCallId: ids.of("call", one.toolCallId) }));
    const isAsked = invocations.every(({ toolCallId }) => (byId.get(toolCallId)?.status ?? "calling") !== "calling");
    const made = new Set(invocations.map(({ toolCallId }) => toolCallId));
    const isAnswered = calls.every((call) => made.has(call.id) || call.result !== null);
    if (calls.length === 0 || !isAsked || !isAnswered) break;
    steps.push({
      index: step.index,
      text: step.text,
      invocations: step.invocations.map(({ key, outcome, ...invocation }) => {
        const toolCallId = ids.of("call", invocation.toolCallId);
        const content = byId.get(toolCallId)?.result ?? null;
        const isGiven = source.toolResults[invocation.toolCallId] !== undefined;
        const reused = { key, toolCallId: invocation.toolCallId, ...(isGiven ? { isGiven } : {}) };
        const copied = content === null ? null : isGiven ? given(content, reused) : outcome && { ...outcome, reused };
        return { ...invocation, toolCallId, outcome: copied };
      }),
    });
  }
  return steps;
}

function given(content: string, reused: ReusedFrom): ForkedOutcome {
  return { status: "succeeded", content, reused };
}
