import type { VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { endSessions } from "./end-sessions.ts";
import { findVisitorProfile } from "./visitor-profile.ts";

const setValidAfter = statement("visitor_revoke", "update visitors set sessions_valid_after = $2 where id = $1");

/**
 * Ends every session of a visitor, on all their devices: tokens they hold are refused and their connections dropped
 * within seconds. An identity token that was signed before this opens none either.
 */
export async function revokeSessions(ctx: Ctx, id: string): Promise<VisitorProfile> {
  return transact(ctx, async (tx) => {
    const visitor = await findVisitorProfile(tx, id);
    const now = new Date(ctx.services.clock());
    await tx.query(setValidAfter, [uuidOf(visitor.id), now]);
    await endSessions(ctx, tx, visitor.id as VisitorId);
    const target = { kind: "visitor", id: visitor.id };
    await audit(ctx, tx, { action: "visitor.sessions_revoked", target });
    return visitor;
  });
}
