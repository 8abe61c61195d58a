import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { uuidOf } from "../ids.ts";
import { enqueueRun } from "./enqueue-run.ts";
import { lockConversation } from "./lock-conversation.ts";

export interface SubmitInstruction {
  conversationId: string;
  /** What the model reads in the place of a visitor's message. */
  text: string;
  /** What it is, for staff. */
  name: string;
  queueClass: QueueClass;
}

const insertRun = statement(
  "instruction_run",
  `insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id, first_seq)
   values ($1, $2, $3, $4, $5, $6, $7, $8)`,
);

const insertMessage = statement(
  "instruction_message",
  "insert into messages (id, tenant_id, conversation_id, run_id, role, text) values ($1, $2, $3, $4, 'user', $5)",
);

/**
 * Starts a run that answers nobody's message. What it is to do stands in the log where a visitor's message would, as one
 * that only staff may read: so prompts, forks and replays need to know nothing of it, and visitors see only the answer.
 * It waits behind whatever is under way, whatever the agent does about second messages.
 */
export async function submitInstruction(
  ctx: Ctx,
  tx: Tx,
  { conversationId, text, name, queueClass }: SubmitInstruction,
): Promise<{ id: string; conversationId: string }> {
  const { services, tenantId, correlationId } = ctx;
  const conversation = await lockConversation(ctx, tx, conversationId);
  if (conversation.agentVersion === null) {
    throw new ProblemError("conflict", "The agent is not published any more.");
  }
  const messageId = services.newId("msg");
  const runId = services.newId("run");
  await tx.query(insertRun, [
    uuidOf(runId),
    uuidOf(tenantId),
    uuidOf(conversationId),
    uuidOf(conversation.agentId),
    conversation.agentVersion,
    queueClass,
    correlationId,
    conversation.lastSeq + 1,
  ]);
  await tx.query(insertMessage, [uuidOf(messageId), uuidOf(tenantId), uuidOf(conversationId), uuidOf(runId), text]);
  const events = [
    { type: "TEXT_MESSAGE_START", messageId, role: "user", name },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
    { type: "TEXT_MESSAGE_END", messageId },
  ] as const;
  await appendInTransaction(ctx, tx, {
    conversationId,
    fence: null,
    events: events.map((event) => ({ event, runId, audience: "staff", correlationId })),
  });
  const isBlocked = conversation.activeRun !== null || conversation.hasQueuedRuns;
  await enqueueRun(ctx, tx, { runId, handOver: 1, queueClass, isBlocked });
  return { id: runId, conversationId };
}
