/** The long part of an erasure: one portion after the other, each a short transaction that others can get in between. */
import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant, type Tx } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { purgeDeletedLog } from "../retention/purge-logs.ts";
import { cancelInTransaction } from "../runs/cancel-run.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { forgetAnswers } from "./forget-answers.ts";

/** Rows of each table at once. */
const PORTION = 1_000;
/** Conversations asked for at once. */
const PAGE = 100;

const left = statement<{ conversation_id: string; is_there: boolean }>(
  "erasure_left",
  `select e.conversation_id, exists (select 1 from conversations c where c.id = e.conversation_id) as is_there
   from erased_conversations e where e.visitor_id = $1 and e.erased_at is null and e.conversation_id > $2
   order by e.conversation_id limit ${PAGE}`,
);

// Forks of forks too; a fork is younger than what it was forked from, so the last of all has none itself.
const lastFork = statement<{ id: string }>(
  "erasure_last_fork",
  `with recursive fork (id) as (
     select f.id from conversations f where f.forked_from = $1
     union all
     select g.id from fork join conversations g on g.forked_from = fork.id
   ) select id from fork order by id desc limit 1`,
);

const noteFork = statement(
  "erasure_note_fork",
  `insert into erased_conversations (conversation_id, tenant_id, visitor_id, erased_at) values ($1, $2, $3, now())
   on conflict (conversation_id) do update set erased_at = now()`,
);

const markGone = statement(
  "erasure_mark_gone",
  "update erased_conversations set erased_at = now() where conversation_id = $1 and erased_at is null",
);

const deleteConversation = statement("conversation_delete", "delete from conversations where id = $1");

const openRuns = statement<{ id: string }>(
  "erasure_open_runs",
  "select id from runs where conversation_id = $1 and status in ('queued', 'running', 'waiting')",
);

const forgetSchedules = statement("erasure_schedules", "delete from schedules where conversation_id = $1");

const forgetClientTools = statement("erasure_client_tools", "delete from client_tools where conversation_id = $1");

const erasePortion = statement<{ more: boolean }>("erase_conversation", "select erase_conversation($1, $2) as more");

const finish = statement("erasure_finish", "update visitors set erasure_finished_at = $2 where id = $1");

const FIRST = "00000000-0000-0000-0000-000000000000";

/** Goes on for as long as there is time; true when nothing is left to do. Others may be at it too. */
export async function continueErasure(ctx: Ctx, visitorId: VisitorId, inTime: () => boolean): Promise<boolean> {
  const { db } = ctx.services;
  const run = <T>(fn: (tx: Tx) => Promise<T>) => inTenant(db, ctx.tenantId, fn);
  for (let after = FIRST; ;) {
    const rows = await run((tx) => tx.query(left, [uuidOf(visitorId), after]));
    for (const { conversation_id: conversation, is_there: isThere } of rows) {
      if (!isThere) {
        // Retention came first.
        while (await purgeDeletedLog(ctx.services, conversation, PORTION)) if (!inTime()) return false;
        await run((tx) => tx.query(markGone, [conversation]));
        continue;
      }
      for (let fork; (fork = await run((tx) => deleteLastFork(ctx, tx, visitorId, conversation)));) {
        while (await purgeDeletedLog(ctx.services, fork, PORTION)) if (!inTime()) return false;
      }
      while (await run((tx) => eraseOnePortion(ctx, tx, conversation))) if (!inTime()) return false;
    }
    after = rows.at(-1)?.conversation_id ?? FIRST;
    if (rows.length < PAGE) break;
    if (!inTime()) return false;
  }
  // Last: until here a request that had begun before could still save what it answered.
  if (!(await forgetAnswers(ctx, visitorId, inTime))) return false;
  await run((tx) => tx.query(finish, [uuidOf(visitorId), new Date(ctx.services.clock())]));
  return true;
}

/** A copy goes as a whole: it is nobody's history. Answers which one went. */
async function deleteLastFork(ctx: Ctx, tx: Tx, visitorId: VisitorId, conversation: string): Promise<string | null> {
  const [fork] = await tx.query(lastFork, [conversation]);
  if (!fork) return null;
  await cancelOpenRuns(ctx, tx, fork.id);
  await tx.query(noteFork, [fork.id, uuidOf(ctx.tenantId), uuidOf(visitorId)]);
  await tx.query(deleteConversation, [fork.id]);
  return fork.id;
}

async function eraseOnePortion(ctx: Ctx, tx: Tx, conversation: string): Promise<boolean> {
  await cancelOpenRuns(ctx, tx, conversation);
  await tx.query(forgetSchedules, [conversation]);
  await tx.query(forgetClientTools, [conversation]);
  const [row] = await tx.query(erasePortion, [conversation, PORTION]);
  return row?.more ?? false;
}

/** Holds the conversation from then on, so no run begins before the transaction ends. */
async function cancelOpenRuns(ctx: Ctx, tx: Tx, conversation: string): Promise<void> {
  const held = await lockConversation({ ...ctx, actor: { kind: "worker" } }, tx, idOf("conv", conversation));
  for (const { id } of await tx.query(openRuns, [conversation])) {
    await cancelInTransaction(ctx, tx, held, idOf("run", id), "kept");
  }
}
