import { custom, type ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { cancelInTransaction } from "../runs/cancel-run.ts";
import type { LockedConversation } from "../runs/lock-conversation.ts";

const operatorOf = statement<{ operator: string | null }>(
  "conversation_operator",
  "select operator from conversations where id = $1",
);

const setMode = statement("conversation_set_mode", "update conversations set mode = $2, operator = $3 where id = $1");

/** Who answers. `operator`: the name of whoever has taken it over, null while nobody has. */
export type Answering = { mode: "agent" } | { mode: "operator"; operator: string | null };

/**
 * Says who answers from now on, with the events that tell of it. Answers false when nothing changed. The caller holds the
 * conversation.
 */
export async function setAnswering(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  next: Answering,
): Promise<boolean> {
  const [row] = await tx.query(operatorOf, [uuidOf(conversation.id)]);
  const before = row?.operator ?? null;
  const after = next.mode === "operator" ? next.operator : null;
  const events: ConversationEvent[] = [];
  if (before !== null && before !== after) events.push(custom("operator.left", { name: before }));
  if (conversation.mode !== next.mode) events.push(custom("conversation.mode", { mode: next.mode }));
  if (after !== null && before !== after) events.push(custom("operator.joined", { name: after }));
  if (events.length === 0) return false;
  await tx.query(setMode, [uuidOf(conversation.id), next.mode, after]);
  const { correlationId } = ctx;
  await appendInTransaction(ctx, tx, {
    conversationId: conversation.id,
    fence: null,
    events: events.map((event) => ({ event, runId: null, audience: "all", correlationId })),
  });
  return true;
}

const openRuns = statement<{ id: string }>(
  "conversation_open_runs",
  "select id from runs where conversation_id = $1 and status in ('queued', 'running', 'waiting') order by first_seq",
);

/** Ends what is under way in a conversation that a person takes, so that two do not speak at once. */
export async function cancelOpenRuns(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  except: string | null = null,
): Promise<void> {
  for (const { id } of await tx.query(openRuns, [uuidOf(conversation.id)])) {
    const runId = idOf("run", id);
    if (runId !== except) await cancelInTransaction(ctx, tx, conversation, runId, "kept");
  }
}
