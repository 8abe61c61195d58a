import { closeBrackets } from "@agent-engine/protocol/brackets.ts";
import { defaultAudience } from "@agent-engine/protocol/envelope.ts";
import { custom, type ConversationEvent } from "@agent-engine/protocol/events.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import type { Claim } from "./claim-run.ts";
import { endRun } from "./end-run.ts";
import { readOutline, readTexts } from "./run-outline.ts";
import { spentSoFar } from "./spent-usage.ts";
import { leaveWritesOpen } from "./tool-steps.ts";

/** Workers that may die of one run. `claim_run` counts them and says when it is enough. */
export const MAX_CRASHES = 3;

const UNANSWERED = "The run was given up before this tool call had a result.";

const deadLetter = statement(
  "job_dead",
  "update jobs j set state = 'dead', reason = $2 from runs r where r.id = $1 and j.run_id = r.id and j.hand_over = r.hand_over",
);

/**
 * Ends a run that was claimed as `poison`: nobody executes it any more, and its job is dead with the reason. What it
 * had recorded stands, the rest is taken back. Reads no more of the log than it must, since that may be what kills.
 *
 * Throws `LeaseLost` when the run is no longer this claim's.
 */
export async function buryRun(ctx: Ctx, claim: Claim, message: string): Promise<void> {
  const { conversationId, runId, epoch, crashes } = claim;
  const detail = cleanText(`Its worker died ${crashes} times while executing it; the last time: ${claim.lastCrash}.`);
  await inTenant(ctx.services.db, ctx.tenantId, async (tx) => {
    const { brackets, isRunning, standing, unrecorded } = await readOutline(tx, conversationId, runId);
    // One more death was while it was buried: even what it had said may be too much.
    const messageIds = crashes > MAX_CRASHES ? [] : standing.messageIds;
    const texts = await readTexts(tx, { conversationId, runId, messageIds });
    const usage = await spentSoFar(tx, runId);
    const gone = new Set(unrecorded.toolCallIds);
    const events: ConversationEvent[] = [
      isRunning
        ? custom("run.retrying", { attempt: claim.attempt, delayMs: 0, reason: "worker_lost" })
        : { type: "RUN_STARTED", threadId: conversationId, runId },
      ...closeBrackets(
        { ...brackets, unanswered: brackets.unanswered.filter((id) => !gone.has(id)) },
        { answer: { content: UNANSWERED, newMessageId: () => ctx.services.newId("msg") } },
      ),
      ...(unrecorded.messageIds.length + unrecorded.toolCallIds.length > 0
        ? [custom("run.superseded", unrecorded)]
        : []),
      { type: "RUN_ERROR", code: "poison", message, usage },
    ];
    await endRun(ctx, tx, {
      conversationId,
      runId,
      fence: { runId, epoch, position: 0 },
      events: events.map((event) => ({
        event,
        runId,
        audience: defaultAudience(event),
        correlationId: claim.correlationId,
      })),
      status: "failed",
      finishReason: null,
      error: { code: "poison", message, detail },
      usage,
      texts,
    });
    await leaveWritesOpen(tx, runId, []);
    await tx.query(deadLetter, [uuidOf(runId), detail]);
  });
}
