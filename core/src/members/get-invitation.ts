import type { Invitation, Role } from "@agent-engine/protocol/administration.ts";
import type { MemberId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { notFound } from "../errors.ts";
import { idOf } from "../ids.ts";
import { hashInvitationToken } from "./invitation.ts";

const resolve = statement<{
  tenant_id: string;
  tenant_name: string;
  member_id: string;
  email: string;
  role: Role;
  expires_at: Date;
  has_account: boolean;
}>("resolve_invitation", "select * from resolve_invitation($1)");

export interface OpenInvitation extends Invitation {
  tenantId: TenantId;
  memberId: MemberId;
}

/** The invitation a token opens; throws `not_found` when it was used, replaced, withdrawn or has ended. */
export async function findInvitation(services: Pick<Services, "db">, token: string): Promise<OpenInvitation> {
  const [row] = await services.db.query(resolve, [hashInvitationToken(token)]);
  if (!row) throw notFound("invitation");
  const tenantId = idOf("tenant", row.tenant_id);
  return {
    tenantId,
    memberId: idOf("member", row.member_id),
    tenant: { id: tenantId, name: row.tenant_name },
    email: row.email,
    role: row.role,
    expiresAt: row.expires_at.toISOString(),
    hasAccount: row.has_account,
  };
}

/** What whoever was invited reads before they accept. */
export async function getInvitation(services: Pick<Services, "db">, token: string): Promise<Invitation> {
  const { tenant, email, role, expiresAt, hasAccount } = await findInvitation(services, token);
  return { tenant, email, role, expiresAt, hasAccount };
}
