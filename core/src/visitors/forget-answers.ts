import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const PORTION = 500;

// Answers name what they speak of by its id: the visitor, one of their conversations, a fork of one.
const forget = statement<{ principal: string; key: string; n: string }>(
  "erasure_forget_answers",
  `with page as (
     select k.principal, k.key, k.response::text as response from idempotency_keys k
     where k.tenant_id = $1 and (k.principal, k.key) > ($3, $4) order by k.principal, k.key limit ${PORTION}
   ), named as (
     select p.principal, p.key from page p
     where p.principal in (select 'visitor_' || replace(v.id::text, '-', '') from visitors v where v.id = $2 or v.merged_into = $2)
       or exists (
         select 1 from regexp_matches(p.response, '(conv|visitor)_([0-9a-f]{32})', 'g') m (part)
         where (m.part[1] = 'conv' and exists (
             select 1 from erased_conversations e where e.conversation_id = m.part[2]::uuid and e.visitor_id = $2))
           or (m.part[1] = 'visitor' and exists (
             select 1 from visitors v where v.id = m.part[2]::uuid and (v.id = $2 or v.merged_into = $2))))
   ), gone as (
     delete from idempotency_keys k using named n where k.tenant_id = $1 and k.principal = n.principal and k.key = n.key
   )
   select p.principal, p.key, count(*) over () as n from page p order by p.principal desc, p.key desc limit 1`,
);

/**
 * Deletes saved answers that hold what the visitor said. Answers are kept for a day and found by who asked, so the
 * tenant's are gone through, a portion at a time. False when time ran out first.
 */
export async function forgetAnswers(ctx: Ctx, visitorId: VisitorId, inTime: () => boolean): Promise<boolean> {
  for (let [principal, key] = ["", ""]; ;) {
    const values = [uuidOf(ctx.tenantId), uuidOf(visitorId), principal, key];
    const [last] = await inTenant(ctx.services.db, ctx.tenantId, (tx) => tx.query(forget, values));
    if (!last || Number(last.n) < PORTION) return true;
    [principal, key] = [last.principal, last.key];
    if (!inTime()) return false;
  }
}
