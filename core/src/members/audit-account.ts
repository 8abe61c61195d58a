import type { UserId } from "@agent-engine/protocol/ids.ts";
import { audit, type AuditAction } from "../audit/audit.ts";
import type { Fields } from "../audit/changed.ts";
import type { Actor, Services } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { membershipsOf } from "./memberships-of.ts";

export interface AccountChange {
  userId: UserId;
  action: AuditAction;
  /** Nobody is known to have done it: somebody who tries passwords. */
  isByStranger?: boolean;
  before?: Fields;
  after?: Fields;
  correlationId: string;
  ip: string | null;
}

/**
 * Puts a change of an account on record in every tenant that the person is a member of. The accounts are another role's,
 * so it is another transaction than the change, right after it; where it fails the process's log has it, as an error.
 */
export async function auditAccount(services: Services, change: AccountChange): Promise<void> {
  const { userId, action, isByStranger = false, before, after, correlationId, ip } = change;
  try {
    for (const { tenantId, memberId, role } of await membershipsOf(services, userId)) {
      const actor: Actor = isByStranger ? { kind: "worker" } : { kind: "member", memberId, userId, role };
      const ctx = { services, tenantId, actor, correlationId, ...(ip === null ? {} : { ip }) };
      const target = { kind: "member", id: memberId };
      await transact(ctx, (tx) => audit(ctx, tx, { action, target, before: before ?? null, after: after ?? null }));
    }
  } catch (error) {
    services.log.error({ err: error, userId, action, correlationId }, "a change of an account was not put on record");
  }
}
