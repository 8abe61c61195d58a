import { closeBrackets, noBrackets, trackBrackets, type OpenBrackets } from "@agent-engine/protocol/brackets.ts";
import type { Envelope, StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { custom, type ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import type { Claim } from "@agent-engine/core/runs/claim-run.ts";
import { stepIndexOf } from "@agent-engine/core/runs/step-name.ts";
import type { RecordedStep } from "./engine/effects.ts";

/** A conversation as a claimed run finds it. */
export interface RunHistory {
  state: ConversationState;
  /** What the run's earlier worker left open. */
  brackets: OpenBrackets;
  /** How long the run has been executed so far, in milliseconds: not while it waited, nor while nobody had it. */
  activeMs: number;
  /** Its beginning was copied from another run: see `core/src/runs/read-fork.ts`. */
  isFork: boolean;
}

/** Folds the log, following the run's own brackets and times on the way. */
export async function readHistory(pages: AsyncIterable<StoredEnvelope[]>, runId: string): Promise<RunHistory> {
  let state = initialState;
  let brackets = noBrackets;
  let activeMs = 0;
  let isFork = false;
  let stretch: { from: string; to: string } | null = null;
  for await (const page of pages) {
    state = reduce(state, page);
    for (const envelope of page) {
      if (envelope.runId !== runId) continue;
      const { event, at } = envelope;
      brackets = trackBrackets(brackets, event);
      if (event.type === "CUSTOM" && event.name === "run.forked") isFork = true;
      if (event.type === "RUN_STARTED" || isTakeOver(event)) {
        activeMs += lengthMs(stretch);
        stretch = { from: at, to: at };
      } else if (stretch) stretch.to = at;
      if (event.type === "RUN_FINISHED") {
        activeMs += lengthMs(stretch);
        stretch = null;
      }
    }
  }
  return { state, brackets, activeMs: activeMs + lengthMs(stretch), isFork };
}

const WORKER_LOST = "worker_lost";

function isTakeOver(event: ConversationEvent): boolean {
  return event.type === "CUSTOM" && event.name === "run.retrying" && event.value.reason === WORKER_LOST;
}

function lengthMs(stretch: { from: string; to: string } | null): number {
  return stretch ? Date.parse(stretch.to) - Date.parse(stretch.from) : 0;
}

/** Where the engine goes on, and what must be written first. */
export interface Continuation {
  events: ConversationEvent[];
  history: ConversationState;
  stepIndex: number;
  /** Set when the step's model turn is recorded and only its tools are to be finished. */
  resumeStep?: RecordedStep;
}

/**
 * Plans how a run goes on, from its log and its last recorded step. A model turn that was not recorded is superseded
 * and made again with new ids; a recorded one stands, and only its tools are finished.
 */
export function planContinuation(
  claim: Pick<Claim, "kind" | "runId" | "conversationId" | "attempt">,
  { state, brackets }: Pick<RunHistory, "state" | "brackets">,
  lastStep: RecordedStep | null,
): Continuation {
  const { runId } = claim;
  const wasStarted = state.runs[runId]?.status === "running";
  const recorded = lastStep?.index ?? -1;
  const isUnrecorded = (item: { runId: string | null; stepName: string | null }) =>
    item.runId === runId && stepIndexOf(item.stepName) > recorded;
  const messageIds = state.messages.filter((it) => it.role === "assistant" && isUnrecorded(it)).map(({ id }) => id);
  const toolCallIds = state.toolCalls.filter(isUnrecorded).map(({ id }) => id);
  const superseded =
    messageIds.length + toolCallIds.length > 0 ? [custom("run.superseded", { messageIds, toolCallIds })] : [];

  const retrying = custom("run.retrying", { attempt: claim.attempt, delayMs: 0, reason: WORKER_LOST });
  const events: ConversationEvent[] = !wasStarted
    ? [{ type: "RUN_STARTED", threadId: claim.conversationId, runId }, ...superseded]
    : // A fork that begins in the middle: its copy is closed already, and no worker was lost.
      claim.kind === "start"
      ? []
      : [retrying, ...closeBrackets(brackets), ...superseded];

  const history = reduce(state, asEnvelopes(events, state.lastSeq, claim));
  const isUnfinished =
    lastStep !== null &&
    (lastStep.invocations.some(({ outcome }) => outcome === null) ||
      history.toolCalls.some(
        (call) => call.runId === runId && stepIndexOf(call.stepName) === recorded && call.result === null,
      ));
  return isUnfinished
    ? { events, history, stepIndex: recorded, resumeStep: lastStep }
    : { events, history, stepIndex: recorded + 1 };
}

function asEnvelopes(
  events: readonly ConversationEvent[],
  lastSeq: number,
  { conversationId, runId }: { conversationId: string; runId: string },
): Envelope[] {
  return events.map((event, offset) => ({
    seq: lastSeq + offset + 1,
    conversationId,
    runId,
    at: "",
    correlationId: "",
    event,
  }));
}
