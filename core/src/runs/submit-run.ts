import type { QueueClass, Submission } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { uuidOf } from "../ids.ts";
import { cancelInTransaction } from "./cancel-run.ts";
import { enqueueRun } from "./enqueue-run.ts";
import { lockConversation } from "./lock-conversation.ts";
import { MESSAGE_COLUMNS, RUN_COLUMNS, toMessage, toRun, type MessageRow, type RunRow } from "./run-row.ts";

export interface SubmitRun {
  conversationId: string;
  text: string;
  clientMessageId: string | null;
  /** The agent's by default. */
  queueClass?: QueueClass;
}

interface SubmissionRow {
  message: Omit<MessageRow, "created_at"> & { created_at: string };
  run: Omit<RunRow, "created_at" | "finished_at"> & { created_at: string; finished_at: string | null };
}

const columns = (list: string) =>
  list
    .split(", ")
    .map((column) => `'${column.slice(2)}', ${column}`)
    .join(", ");

const insert = statement<SubmissionRow>(
  "submission_insert",
  `with m as (
     insert into messages (id, tenant_id, conversation_id, run_id, client_message_id, role, text)
     values ($1, $2, $3, $6, $4, 'user', $5)
     on conflict (conversation_id, client_message_id) do nothing
     returning *
   ), r as (
     insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id, first_seq)
     select $6, $2, $3, $7, $8, $9, $10, $11 from m
     returning *
   )
   select json_build_object(${columns(MESSAGE_COLUMNS)}) as message, json_build_object(${columns(RUN_COLUMNS)}) as run from m, r`,
);

const existing = statement<SubmissionRow>(
  "submission_existing",
  `select json_build_object(${columns(MESSAGE_COLUMNS)}) as message, json_build_object(${columns(RUN_COLUMNS)}) as run
   from messages m join runs r on r.id = m.run_id
   where m.conversation_id = $1 and m.client_message_id = $2`,
);

/**
 * The one transaction of a message: the message, its run, the log's events and the doorbell's record. The same
 * `clientMessageId` answers what the first one did; with another text it is refused.
 */
export async function submitRun(ctx: Ctx, tx: Tx, input: SubmitRun): Promise<Submission> {
  const { services } = ctx;
  let conversation = await lockConversation(ctx, tx, input.conversationId);
  if (input.clientMessageId !== null) {
    const before = await findSubmission(tx, input);
    if (before) return before;
  }
  if (conversation.agentVersion === null) {
    throw new ProblemError("conflict", "The agent has not been published yet. Publish it, then send the message again.");
  }
  conversation = await makeWay(ctx, tx, conversation);

  const messageId = services.newId("msg");
  const runId = services.newId("run");
  const queueClass = input.queueClass ?? conversation.queueClass;
  const [row] = await tx.query(insert, [
    uuidOf(messageId),
    uuidOf(ctx.tenantId),
    uuidOf(input.conversationId),
    input.clientMessageId,
    input.text,
    uuidOf(runId),
    uuidOf(conversation.agentId),
    conversation.agentVersion,
    queueClass,
    ctx.correlationId,
    conversation.lastSeq + 1,
  ]);
  if (!row) throw new Error("the message is neither new nor known");

  const fact = { runId, audience: "all" as const, correlationId: ctx.correlationId };
  await appendInTransaction(ctx, tx, {
    conversationId: input.conversationId,
    fence: null,
    events: [
      { ...fact, event: { type: "TEXT_MESSAGE_START", messageId, role: "user" } },
      { ...fact, event: { type: "TEXT_MESSAGE_CONTENT", messageId, delta: input.text } },
      { ...fact, event: { type: "TEXT_MESSAGE_END", messageId } },
    ],
  });
  const isBlocked = conversation.activeRun !== null || conversation.hasQueuedRuns;
  await enqueueRun(ctx, tx, { runId, handOver: 1, queueClass, isBlocked });
  return toSubmission(row);
}

/** Applies the agent's double-send policy; a run that only waits for an operator never stands in a visitor's way. */
async function makeWay(ctx: Ctx, tx: Tx, conversation: Awaited<ReturnType<typeof lockConversation>>) {
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

async function findSubmission(tx: Tx, input: SubmitRun): Promise<Submission | null> {
  const [row] = await tx.query(existing, [uuidOf(input.conversationId), input.clientMessageId]);
  if (!row) return null;
  if (row.message.text !== input.text) {
    throw new ProblemError(
      "idempotency_mismatch",
      "This clientMessageId was used for a message with another text. Use a new one for a new message.",
    );
  }
  return toSubmission(row);
}

function toSubmission({ message, run }: SubmissionRow): Submission {
  return {
    message: toMessage({ ...message, created_at: new Date(message.created_at) }),
    run: toRun({
      ...run,
      created_at: new Date(run.created_at),
      finished_at: run.finished_at === null ? null : new Date(run.finished_at),
    }),
  };
}
