import type { Interrupt, InterruptReason } from "@agent-engine/protocol/events.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import type { QueueClass, Run } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { parseId, uuidOf } from "../ids.ts";
import { endRun } from "./end-run.ts";
import { enqueueRun } from "./enqueue-run.ts";
import { findRun } from "./get-run.ts";
import { lockConversation } from "./lock-conversation.ts";
import { decideInvocation } from "./tool-steps.ts";

export type Decision = "approve" | "decline" | "result" | "error" | "retry" | "done" | "abort";

/** How a person resolved an interrupt, as the worker finds it. */
export interface Resolution {
  interrupt: Interrupt;
  decision: Decision;
  payload: unknown;
  by: string;
}

export interface ResumeRun {
  runId: string;
  interruptId: string;
  decision: Decision;
  payload?: unknown;
}

const DECISIONS: Record<InterruptReason, readonly Decision[]> = {
  approval: ["approve", "decline"],
  connection: ["decline"],
  client_tool: ["result", "error"],
  operator: ["retry", "done", "abort"],
};

const decided = statement<{ decided: boolean }>(
  "run_decided",
  "select resume is not null as decided from runs where id = $1",
);

const setResume = statement<{ hand_over: number; queue_class: QueueClass }>(
  "run_resume",
  `update runs set resume = $2, hand_over = hand_over + 1, correlation_id = $3
   where id = $1 and status = 'waiting' and resume is null
   returning hand_over, queue_class`,
);

/** Resolves what a run waits for. The first decision wins; a later one is `interrupt_resolved`. */
export async function resumeRun(ctx: Ctx, input: ResumeRun): Promise<Run> {
  const runId = parseId("run", input.runId, "run");
  return transact(ctx, async (tx) => {
    const { conversationId } = await findRun(ctx, tx, runId);
    const conversation = await lockConversation(ctx, tx, conversationId);
    // Read again under the lock: two people may be answering at once.
    const run = await findRun({ ...ctx, actor: { kind: "worker" } }, tx, runId);
    const interrupt = run.interrupts.find(({ id }) => id === input.interruptId);
    const [resolved] = await tx.query(decided, [uuidOf(runId)]);
    if (run.status !== "waiting" || !interrupt || resolved?.decided) {
      throw new ProblemError(
        "interrupt_resolved",
        "The run no longer waits for this. Read the run to see where it is.",
      );
    }
    assertMayDecide(ctx, interrupt, input.decision);
    const by = ctx.actor.kind === "visitor" ? "visitor" : "operator";
    const fact = { runId, audience: "all" as const, correlationId: ctx.correlationId };
    await appendInTransaction(ctx, tx, {
      conversationId,
      fence: null,
      events: [{ ...fact, event: custom("run.resumed", { interruptId: interrupt.id, decision: input.decision, by }) }],
    });
    if (interrupt.reason === "operator" && input.decision === "abort") {
      await endRun(ctx, tx, {
        conversationId: conversation.id,
        runId,
        fence: null,
        events: [
          { ...fact, event: { type: "RUN_ERROR", code: "aborted", message: "The request was stopped by our team." } },
        ],
        status: "failed",
        finishReason: null,
        error: { code: "aborted", message: "An operator aborted the run." },
        usage: run.usage,
        texts: new Map(),
      });
      return findRun(ctx, tx, runId);
    }
    if (interrupt.toolCallId !== undefined) {
      await decideInvocation(tx, runId, interrupt.toolCallId, { kind: input.decision, by, ...detailsOf(input) });
    }
    const resolution: Resolution = { interrupt, decision: input.decision, payload: input.payload ?? null, by };
    const [row] = await tx.query(setResume, [uuidOf(runId), jsonbOf(resolution), ctx.correlationId]);
    if (!row) throw new Error(`run ${runId} does not wait`);
    await enqueueRun(ctx, tx, { runId, handOver: row.hand_over, queueClass: row.queue_class, isBlocked: false });
    return findRun(ctx, tx, runId);
  });
}

/** What the payload may add to a decision about a tool call: a reason for the model, or what is known to have happened. */
function detailsOf({ payload }: ResumeRun): { reason?: string; content?: string } {
  if (typeof payload !== "object" || payload === null) return {};
  const { reason, content } = payload as Record<string, unknown>;
  return {
    ...(typeof reason === "string" ? { reason } : {}),
    ...(typeof content === "string" ? { content } : {}),
  };
}

/** `done` is about an action that may have happened; a model that did not answer can only be asked again. */
function decisionsOn({ reason, toolCallId }: Interrupt): readonly Decision[] {
  const allowed = DECISIONS[reason];
  return reason === "operator" && toolCallId === undefined ? allowed.filter((each) => each !== "done") : allowed;
}

function assertMayDecide(ctx: Ctx, interrupt: Interrupt, decision: Decision): void {
  if (ctx.actor.kind === "visitor" && interrupt.reason === "operator") {
    throw new ProblemError("forbidden", "This is for the site's staff to decide.");
  }
  const allowed = decisionsOn(interrupt);
  if (!allowed.includes(decision)) {
    throw new ProblemError(
      "invalid_request",
      `An interrupt of kind ${interrupt.reason} takes ${allowed.join(", ")}; \`decision\` was ${decision}.`,
    );
  }
}
