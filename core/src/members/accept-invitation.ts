import type { Member } from "@agent-engine/protocol/administration.ts";
import type { UserId } from "@agent-engine/protocol/ids.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { createAccount } from "./create-account.ts";
import { findInvitation, type OpenInvitation } from "./get-invitation.ts";
import { hashInvitationToken } from "./invitation.ts";
import { MEMBER_COLUMNS, toMember, type MemberRow } from "./member-row.ts";
import type { Session } from "./resolve-session.ts";

export interface AcceptInvitation {
  correlationId: string;
  ip?: string | undefined;
  token: string;
  /** Who accepts, when they are signed in. */
  session: Session | null;
  /** For a new account. */
  name?: string | undefined;
  password?: string | undefined;
}

const join = statement<MemberRow>(
  "member_join",
  `update members set user_id = $3, name = $4, joined_at = $5, invitation_hash = null, invitation_expires_at = null
   where id = $1 and invitation_hash = $2 and user_id is null and invitation_expires_at > now()
   returning ${MEMBER_COLUMNS}`,
);

/**
 * Makes the invited person a member: the one who is signed in, or a new account. The token came by mail, so it proves
 * the address; an account that exists proves itself by signing in, and must have that address.
 */
export async function acceptInvitation(services: Services, input: AcceptInvitation): Promise<Member> {
  const invitation = await findInvitation(services, input.token);
  const { id, name } = await personOf(services, invitation, input);
  const { tenantId, memberId, role } = invitation;
  const ctx: Ctx = {
    services,
    tenantId,
    actor: { kind: "member", memberId, userId: id, role },
    correlationId: input.correlationId,
    ...(input.ip === undefined ? {} : { ip: input.ip }),
  };
  return transact(ctx, async (tx) => {
    const [row] = await tx.query(join, [
      uuidOf(memberId),
      hashInvitationToken(input.token),
      id,
      name,
      new Date(services.clock()),
    ]);
    if (!row) throw notFound("invitation");
    const member = toMember(row);
    await audit(ctx, tx, { action: "member.joined", target: { kind: "member", id: member.id }, after: { ...member } });
    return member;
  });
}

async function personOf(
  services: Services,
  invitation: OpenInvitation,
  { session, name, password }: AcceptInvitation,
): Promise<{ id: UserId; name: string }> {
  if (session) {
    if (session.user.email === invitation.email) return session.user;
    throw new ProblemError(
      "forbidden",
      "This invitation is for another address than the one you are signed in with. Sign out, then open its link again.",
    );
  }
  if (invitation.hasAccount) {
    throw new ProblemError("unauthenticated", `Sign in as ${invitation.email}, then accept the invitation.`);
  }
  if (name === undefined || password === undefined) {
    throw new ProblemError(
      "invalid_request",
      "Choose a `name` and a `password`: there is no account for this address.",
    );
  }
  return { id: await createAccount(services, { email: invitation.email, name, password }), name };
}
