import { createHash, randomBytes } from "node:crypto";
import type { Member, Role } from "@agent-engine/protocol/administration.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { MEMBER_COLUMNS, toMember, type MemberRow } from "./member-row.ts";
import { hasEverything } from "./permissions.ts";

export const INVITATION_DAYS = 7;
const DAY_MS = 86_400_000;

/** What is asked of an invitation: kept as a hash, like a key. */
export function hashInvitationToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

const find = statement<MemberRow>(
  "member_by_email",
  `select ${MEMBER_COLUMNS} from members where tenant_id = $1 and email = $2 for update`,
);

// Two invitations of one address at once: the later one counts.
const upsert = statement<MemberRow>(
  "member_invite",
  `insert into members (id, tenant_id, email, role, invitation_hash, invitation_expires_at, created_at)
   values ($1, $2, $3, $4, $5, $6, $7)
   on conflict (tenant_id, email) do update
     set role = excluded.role, invitation_hash = excluded.invitation_hash,
         invitation_expires_at = excluded.invitation_expires_at
     where members.user_id is null
   returning ${MEMBER_COLUMNS}`,
);

/**
 * Writes an invitation; one that is open for the same address is replaced, and its link is void. The token is in the
 * answer and nowhere else. Throws `forbidden` when the inviter has less than they would give, `conflict` for a member.
 */
export async function writeInvitation(
  ctx: Ctx,
  tx: Tx,
  { email, role }: { email: string; role: Role },
): Promise<{ member: Member; token: string }> {
  const tenant = uuidOf(ctx.tenantId);
  const [known] = await tx.query(find, [tenant, email]);
  if ((role === "owner" || known?.role === "owner") && !hasEverything(ctx.actor)) {
    throw new ProblemError("forbidden", "Only an owner may invite an owner. Ask one, or invite an admin.");
  }
  const token = randomBytes(32).toString("base64url");
  const now = ctx.services.clock();
  const [row] = await tx.query(upsert, [
    uuidOf(ctx.services.newId("member")),
    tenant,
    email,
    role,
    hashInvitationToken(token),
    new Date(now + INVITATION_DAYS * DAY_MS),
    new Date(now),
  ]);
  if (!row) {
    throw new ProblemError("conflict", `${email} is a member already. Change their role instead.`);
  }
  const member = toMember(row);
  const target = { kind: "member", id: member.id };
  const before = known ? { ...toMember(known) } : null;
  await audit(ctx, tx, { action: "member.invited", target, before, after: { ...member } });
  return { member, token };
}
