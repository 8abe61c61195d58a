import type { Member, Role } from "@agent-engine/protocol/administration.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { invitationLink, invitationMail } from "../mail/mails.ts";
import { INVITATION_DAYS, writeInvitation } from "./invitation.ts";

const tenantName = statement<{ name: string }>("tenant_name", "select name from tenants where id = $1");

/**
 * Invites somebody by mail. Inviting the same address again sends a new link and voids the old one. The link goes to
 * that mailbox only, never to whoever invites: opening it is the proof that the address is theirs.
 */
export async function inviteMember(ctx: Ctx, input: { email: string; role: Role }): Promise<Member> {
  const { mailer, consoleUrl } = ctx.services.accounts;
  if (!mailer.canSend) {
    throw new ProblemError(
      "conflict",
      "This installation cannot send mail, so nobody can be invited. Whoever runs it sets SMTP_URL and MAIL_FROM.",
    );
  }
  return transact(ctx, async (tx) => {
    const [tenant] = await tx.query(tenantName, [uuidOf(ctx.tenantId)]);
    const { member, token } = await writeInvitation(ctx, tx, input);
    const mail = invitationMail({
      to: member.email,
      tenantName: tenant?.name ?? "a tenant",
      role: member.role,
      link: invitationLink(consoleUrl, token),
      validDays: INVITATION_DAYS,
    });
    tx.afterCommit(() => mailer.send(mail));
    return member;
  });
}
