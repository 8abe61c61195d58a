import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Erasure } from "@agent-engine/protocol/visitors.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, parseId, uuidOf } from "../ids.ts";
import { continueErasure } from "./continue-erasure.ts";
import { endSessions } from "./end-sessions.ts";

/** How long a caller waits; what is left then is done in the background. */
const WAIT_MS = 5_000;

// The lock holds back whoever opens a conversation, a session or a merge for them; each finds them erased then.
const lock = statement<{ id: string; erased_at: Date | null; is_finished: boolean }>(
  "visitor_lock_for_erasure",
  `select v.id, v.erased_at, v.erasure_finished_at is not null as is_finished from visitors v
   where v.id = (select coalesce(w.merged_into, w.id) from visitors w where w.id = $1) for update`,
);

const lockMerged = statement<{ id: string }>(
  "visitor_lock_merged",
  "select id from visitors where merged_into = $1 order by id for update",
);

// And this one whoever is copying one of their conversations.
const lockConversations = statement(
  "visitor_lock_conversations",
  "select id from conversations where visitor_id = any ($1::uuid[]) order by id for update",
);

// From here on a conversation is nobody's: the visitor's requests do not find it, whatever token they bring.
const detach = statement(
  "visitor_detach",
  `with theirs as (
     update conversations set visitor_id = null where visitor_id = any ($2::uuid[]) returning id, tenant_id
   )
   insert into erased_conversations (conversation_id, tenant_id, visitor_id) select id, tenant_id, $1 from theirs
   on conflict do nothing`,
);

const forget = statement(
  "visitor_forget",
  `update visitors set external_id = null, name = null, email = null, traits = '{}', identified_at = null,
     sessions_valid_after = $2::timestamptz, erased_at = $2::timestamptz,
     erasure_finished_at = case when id = $3 then null else $2::timestamptz end
   where id = any ($1::uuid[])`,
);

/**
 * Erases a visitor: from the first commit on they are signed out, have no name and find none of their conversations;
 * then what they said is taken out of every table, in portions. Safe to repeat, and it goes on by itself after a crash.
 * A row without a name stays, so that the audit log and the conversations speak of somebody.
 */
export async function eraseVisitor(ctx: Ctx, id: string): Promise<Erasure> {
  const visitorId = parseId("visitor", id, "visitor");
  const begun = await transact(ctx, (tx) => begin(ctx, tx, visitorId));
  const deadline = performance.now() + WAIT_MS;
  const inTime = () => performance.now() < deadline;
  const isErased = begun.isFinished || (await continueErasure(ctx, begun.visitorId, inTime));
  return { visitorId: begun.visitorId, status: isErased ? "erased" : "erasing" };
}

async function begin(ctx: Ctx, tx: Tx, id: VisitorId): Promise<{ visitorId: VisitorId; isFinished: boolean }> {
  const [row] = await tx.query(lock, [uuidOf(id)]);
  if (!row) throw notFound("visitor");
  const visitorId = idOf("visitor", row.id);
  if (row.erased_at !== null) return { visitorId, isFinished: row.is_finished };
  const merged = (await tx.query(lockMerged, [row.id])).map((each) => each.id);
  const all = [row.id, ...merged];
  await tx.query(lockConversations, [all]);
  await tx.query(detach, [row.id, all]);
  await tx.query(forget, [all, new Date(ctx.services.clock()), row.id]);
  for (const each of all) await endSessions(ctx, tx, idOf("visitor", each));
  await audit(ctx, tx, { action: "visitor.erased", target: { kind: "visitor", id: visitorId } });
  return { visitorId, isFinished: false };
}
