import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { QueueClass, SentMessage, Submission } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { storeMessage } from "../conversations/store-message.ts";
import { visitorUuid } from "../conversations/get-conversation.ts";
import { statement } from "../db/statement.ts";
import { atOnce, transact, type Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { publishAfterCommit } from "../events/append-in-transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { cancelInTransaction } from "./cancel-run.ts";
import { waitsForOperator } from "./end-run.ts";
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

interface StoredRow {
  message: MessageJson;
  run: RunJson;
  queue_class: QueueClass;
  state: "blocked" | "pending" | "dispatched";
  base: string;
  at: Date;
}

const store = statement<StoredRow>(
  "store_submission",
  "select * from store_submission($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
);

const storeIfIdle = statement<StoredRow>(
  "store_submission_if_idle",
  "select * from store_submission_if_idle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
);

/**
 * The same for a caller that asks for a run, and not only to be heard.
 * @throws ProblemError `conflict` while a person has the conversation
 */
export async function submitRun(ctx: Ctx, input: SubmitRun): Promise<Submission> {
  const { message, run } = await submitMessage(ctx, input, "refused");
  if (!run) throw new Error("a run was not refused, and not started");
  return { message, run };
}

/**
 * Takes a message in one transaction: the message, its run, the log's events and the doorbell's record. The same
 * `clientMessageId` answers what the first one did; with another text it is refused. While a person has the
 * conversation there is no run.
 */
export async function submitMessage(
  ctx: Ctx,
  input: SubmitRun,
  whileOperator: "stored" | "refused" = "stored",
): Promise<SentMessage> {
  if (!ctx.tx) {
    const stored = await submitIfIdle(ctx, input);
    if (stored) return stored;
  }
  return transact(ctx, (tx) => submitLocked(ctx, tx, input, whileOperator));
}

/** One round trip, which is all that most messages need. */
function submitIfIdle(ctx: Ctx, input: SubmitRun): Promise<Submission | null> {
  return atOnce(ctx.services.db, async (tx) => {
    const planned = plan(ctx, input);
    const [row] = await tx.query(storeIfIdle, [
      uuidOf(ctx.tenantId),
      uuidOf(input.conversationId),
      visitorUuid(ctx),
      uuidOf(planned.messageId),
      input.clientMessageId,
      input.text,
      uuidOf(planned.runId),
      input.queueClass ?? null,
      ctx.correlationId,
      planned.events.map((event) => JSON.stringify(event)),
    ]);
    return row ? accept(ctx, tx, input, planned, row) : null;
  });
}

/** Every other case: the message may be known, a run may be under way. */
async function submitLocked(
  ctx: Ctx,
  tx: Tx,
  input: SubmitRun,
  whileOperator: "stored" | "refused",
): Promise<SentMessage> {
  const found = await lockConversation(ctx, tx, input.conversationId, input.clientMessageId);
  if (found.known) return knownSubmission(found.known, input);
  if (found.mode === "operator") {
    if (whileOperator === "refused") {
      throw new ProblemError("conflict", "A person of the team has this conversation. Hand it back first.");
    }
    return { message: await storeMessage(ctx, tx, { ...input, role: "user" }), run: null };
  }
  if (found.agentVersion === null) {
    throw new ProblemError(
      "conflict",
      "The agent has not been published yet. Publish it, then send the message again.",
    );
  }
  const conversation = await makeWay(ctx, tx, found);
  const planned = plan(ctx, input);
  const [row] = await tx.query(store, [
    uuidOf(ctx.tenantId),
    uuidOf(input.conversationId),
    uuidOf(planned.messageId),
    input.clientMessageId,
    input.text,
    uuidOf(planned.runId),
    uuidOf(conversation.agentId),
    found.agentVersion,
    input.queueClass ?? conversation.queueClass,
    ctx.correlationId,
    conversation.lastSeq + 1,
    conversation.activeRun !== null || conversation.hasQueuedRuns,
    planned.events.map((event) => JSON.stringify(event)),
  ]);
  if (!row) throw new Error("the message was not stored");
  return accept(ctx, tx, input, planned, row);
}

interface Planned {
  messageId: string;
  runId: string;
  events: ConversationEvent[];
}

function plan({ services }: Ctx, { text }: SubmitRun): Planned {
  const messageId = services.newId("msg");
  return {
    messageId,
    runId: services.newId("run"),
    events: [
      { type: "TEXT_MESSAGE_START", messageId, role: "user" },
      { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
      { type: "TEXT_MESSAGE_END", messageId },
    ],
  };
}

/** What follows the commit: readers see the message, a worker hears of the run. */
function accept(ctx: Ctx, tx: Tx, input: SubmitRun, { runId, events }: Planned, row: StoredRow): Submission {
  const { correlationId } = ctx;
  publishAfterCommit(ctx, tx, input.conversationId, {
    base: Number(row.base),
    at: row.at,
    events: events.map((event) => ({ event, runId, audience: "all", correlationId })),
  });
  if (row.state === "dispatched") ringAfterCommit(ctx, tx, row.queue_class, { runId, handOver: 1, correlationId });
  return { message: messageOfJson(row.message), run: runOfJson(row.run) };
}

const openRuns = statement<{ id: string }>(
  "runs_open",
  `select id from runs where conversation_id = $1 and status in ('queued', 'running', 'waiting') order by first_seq`,
);

/**
 * Applies the agent's double-send policy to every run that has not ended, the queued ones too. A run that only waits
 * for an operator never stands in a visitor's way; one that was decided and is about to go on does.
 */
async function makeWay(ctx: Ctx, tx: Tx, conversation: LockedConversation): Promise<LockedConversation> {
  const { activeRun, doubleSend } = conversation;
  if (activeRun === null && !conversation.hasQueuedRuns) return conversation;
  const stuck = activeRun?.status === "waiting" && waitsForOperator(activeRun.interrupts) ? activeRun.id : null;
  if (doubleSend === "queue" && stuck === null) return conversation;
  const open = (await tx.query(openRuns, [uuidOf(conversation.id)])).map(({ id }) => idOf("run", id));
  const inTheWay = open.find((runId) => runId !== stuck);
  if (doubleSend === "reject" && inTheWay !== undefined) {
    throw new ProblemError("run_active", "The agent is still answering. Wait for it to finish, or cancel its run.", {
      extra: { runId: inTheWay },
    });
  }
  if (doubleSend === "interrupt") {
    for (const runId of open) await cancelInTransaction(ctx, tx, conversation, runId, "kept");
  } else if (stuck !== null) await cancelInTransaction(ctx, tx, conversation, stuck);
  return lockConversation(ctx, tx, conversation.id);
}

function knownSubmission(known: SentMessage, { text }: SubmitRun): SentMessage {
  if (known.message.text === text && known.message.role === "user") return known;
  throw new ProblemError(
    "idempotency_mismatch",
    "This clientMessageId was used for a message with another text. Use a new one for a new message.",
  );
}
