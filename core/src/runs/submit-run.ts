import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { QueueClass, Submission } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { publishAfterCommit } from "../events/append-in-transaction.ts";
import { uuidOf } from "../ids.ts";
import { cancelInTransaction } from "./cancel-run.ts";
import { lockConversation, type LockedConversation } from "./lock-conversation.ts";
import { ringAfterCommit } from "./ring.ts";
import { messageOfJson, runOfJson, type MessageJson, type RunJson } from "./run-row.ts";

export interface SubmitRun {
  conversationId: string;
  text: string;
  clientMessageId: string | null;
  /** The agent's by default. */
  queueClass?: QueueClass;
}

const store = statement<{ message: MessageJson; run: RunJson; state: string; base: string; at: Date }>(
  "store_submission",
  "select * from store_submission($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
);

/**
 * The one transaction of a message: the message, its run, the log's events and the doorbell's record. The same
 * `clientMessageId` answers what the first one did; with another text it is refused.
 */
export async function submitRun(ctx: Ctx, tx: Tx, input: SubmitRun): Promise<Submission> {
  const { services, correlationId } = ctx;
  const found = await lockConversation(ctx, tx, input.conversationId, input.clientMessageId);
  if (found.known) return knownSubmission(found.known, input);
  if (found.agentVersion === null) {
    throw new ProblemError("conflict", "The agent has not been published yet. Publish it, then send the message again.");
  }
  const conversation = await makeWay(ctx, tx, found);

  const messageId = services.newId("msg");
  const runId = services.newId("run");
  const queueClass = input.queueClass ?? conversation.queueClass;
  const events: ConversationEvent[] = [
    { type: "TEXT_MESSAGE_START", messageId, role: "user" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: input.text },
    { type: "TEXT_MESSAGE_END", messageId },
  ];
  const [row] = await tx.query(store, [
    uuidOf(ctx.tenantId),
    uuidOf(input.conversationId),
    uuidOf(messageId),
    input.clientMessageId,
    input.text,
    uuidOf(runId),
    uuidOf(conversation.agentId),
    found.agentVersion,
    queueClass,
    correlationId,
    conversation.lastSeq + 1,
    conversation.activeRun !== null || conversation.hasQueuedRuns,
    events.map((event) => JSON.stringify(event)),
  ]);
  if (!row) throw new Error("the message was not stored");

  publishAfterCommit(ctx, tx, input.conversationId, {
    base: Number(row.base),
    at: row.at,
    events: events.map((event) => ({ event, runId, audience: "all", correlationId })),
  });
  if (row.state === "dispatched") ringAfterCommit(ctx, tx, queueClass, { runId, handOver: 1, correlationId });
  return { message: messageOfJson(row.message), run: runOfJson(row.run) };
}

/** Applies the agent's double-send policy; a run that only waits for an operator never stands in a visitor's way. */
async function makeWay(ctx: Ctx, tx: Tx, conversation: LockedConversation): Promise<LockedConversation> {
  const { activeRun, doubleSend } = conversation;
  if (activeRun === null) return conversation;
  const waitsForOperator =
    activeRun.status === "waiting" && activeRun.interrupts.every((interrupt) => interrupt.reason === "operator");
  if (waitsForOperator || doubleSend === "interrupt") {
    await cancelInTransaction(ctx, tx, conversation, activeRun.id);
    return lockConversation(ctx, tx, conversation.id);
  }
  if (doubleSend === "reject") {
    throw new ProblemError("run_active", "The agent is still answering. Wait for it to finish, or cancel its run.", {
      extra: { runId: activeRun.id },
    });
  }
  return conversation;
}

function knownSubmission(known: Submission, { text }: SubmitRun): Submission {
  if (known.message.text === text) return known;
  throw new ProblemError(
    "idempotency_mismatch",
    "This clientMessageId was used for a message with another text. Use a new one for a new message.",
  );
}
