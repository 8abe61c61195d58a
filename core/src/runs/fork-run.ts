import type { ForkOrigin } from "@agent-engine/protocol/events.ts";
import type { Submission } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { parseId } from "../ids.ts";
import { audit } from "../audit/audit.ts";
import { enqueueRun } from "./enqueue-run.ts";
import { forkHistory } from "./fork-history.ts";
import { holdForCopying, readLogUpTo, readOriginal, type Original } from "./fork-original.ts";
import type { ForkChanges, ForkSettings } from "./fork-settings.ts";
import { storeFork } from "./fork-store.ts";
import { findRun } from "./get-run.ts";

export interface ForkRun {
  runId: string;
  /** The event from which the run goes on; where it began by default. */
  atSeq?: number;
  changes: ForkChanges;
}

/** A copy is one transaction: a longer log than this is not copied in one. */
const MAX_COPIED_EVENTS = 100_000;

/**
 * Starts a run again from one of its events, in a new conversation that begins with a copy of the old one. The original
 * stays as it is, whatever state it is in; of one that is under way, what is stored so far is copied.
 */
export async function forkRun(ctx: Ctx, { runId: id, atSeq, changes }: ForkRun): Promise<Submission> {
  const runId = parseId("run", id, "run");
  return transact(ctx, async (tx) => {
    await holdForCopying(tx, runId);
    const original = await readOriginal(tx, runId);
    const origin: ForkOrigin = {
      runId,
      conversationId: original.conversationId,
      seq: atSeq ?? original.beganAt,
    };
    assertInside(original, origin.seq);
    assertKnownCalls(original, changes);
    const { message = original.message.text, ...settings } = changes;
    const history = forkHistory(
      {
        origin,
        log: await readLogUpTo(tx, original.conversationId, origin.seq),
        message: { id: original.message.id, text: message },
        steps: original.steps,
        toolResults: changes.toolResults ?? {},
      },
      ctx.services.newId,
    );
    const toolResults = { ...original.fork?.toolResults, ...changes.toolResults };
    const fork: ForkSettings = { ...settings, toolResults, from: origin };
    const stored = await storeFork(ctx, tx, { original, history, fork });
    await enqueueRun(ctx, tx, {
      runId: history.runId,
      handOver: 1,
      queueClass: original.queueClass,
      isBlocked: false,
    });
    const run = await findRun(ctx, tx, history.runId);
    const { allowSideEffects } = changes;
    const after = { runId: run.id, conversationId: run.conversationId, atSeq: origin.seq, allowSideEffects };
    await audit(ctx, tx, { action: "run.forked", target: { kind: "run", id: runId }, after });
    return { message: stored, run };
  });
}

function assertInside({ firstSeq, lastSeq, isOver }: Original, seq: number): void {
  if (seq < firstSeq || seq > lastSeq) {
    throw new ProblemError(
      "invalid_request",
      `\`atSeq\` must lie within the run: from ${firstSeq}, where its message begins, to ${lastSeq}, its last event` +
        `${isOver ? "" : " so far"}. To go on from elsewhere, fork the run that is there.`,
    );
  }
  if (seq > MAX_COPIED_EVENTS) {
    throw new ProblemError(
      "invalid_request",
      `A fork copies at most ${MAX_COPIED_EVENTS} events, and \`atSeq\` is ${seq}. Start a new run with the message instead.`,
    );
  }
}

/** A result that no call can ever take is a mistake in its id. */
function assertKnownCalls({ steps }: Original, { toolResults = {} }: ForkChanges): void {
  const known = new Set(steps.flatMap((step) => step.invocations.map(({ toolCallId }) => toolCallId)));
  for (const toolCallId of Object.keys(toolResults)) {
    if (known.has(toolCallId)) continue;
    throw new ProblemError(
      "invalid_request",
      `\`changes.toolResults\` names ${toolCallId}, which is no tool call that this run has made. ` +
        "Take the ids from the run's TOOL_CALL_START events.",
    );
  }
}
