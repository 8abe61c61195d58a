import type { Conversation } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { ProblemError, notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { toConversation, type ConversationRow } from "./conversation-row.ts";

const insert = statement<ConversationRow>(
  "conversation_insert",
  // The lock waits for whoever is merging the visitor into another one or erasing them, and then sees what became of them.
  `with agent as (
     select id from agents where id = $3 and published_version is not null
   ), visitor as materialized (
     select coalesce(merged_into, id) as id from visitors where id = $5 and erased_at is null for key share
   ), conversation as (
     insert into conversations (id, tenant_id, agent_id, site_id, visitor_id)
     select $1, $2, agent.id, $4, visitor.id from agent left join visitor on true
     where $5::uuid is null or visitor.id is not null returning *
   ), head as (
     insert into conversation_heads (conversation_id, tenant_id) select id, tenant_id from conversation
   )
   select id, agent_id, visitor_id, mode, 0::bigint as last_seq, created_at from conversation`,
);

/** Starts a conversation. A visitor talks to their site's agent; a secret key names one. */
export async function createConversation(ctx: Ctx, input: { agentId?: string }): Promise<Conversation> {
  return transact(ctx, (tx) => insertConversation(ctx, tx, input.agentId));
}

export async function insertConversation(ctx: Ctx, tx: Tx, wanted: string | undefined): Promise<Conversation> {
  const { actor } = ctx;
  const own = actor.kind === "visitor" ? actor.agentId : undefined;
  if (wanted === undefined && own === undefined) {
    throw new ProblemError("invalid_request", "`agentId` is missing: say which agent the conversation is with.");
  }
  const agentId = parseId("agent", wanted ?? own ?? "", "agent");
  if (own !== undefined && agentId !== own) throw notFound("agent");
  const [row] = await tx.query(insert, [
    uuidOf(ctx.services.newId("conv")),
    uuidOf(ctx.tenantId),
    uuidOf(agentId),
    actor.kind === "visitor" ? uuidOf(actor.siteId) : null,
    actor.kind === "visitor" ? uuidOf(actor.visitorId) : null,
  ]);
  if (!row) throw new ProblemError("not_found", "There is no such agent, or it has not been published yet.");
  return toConversation(row);
}
