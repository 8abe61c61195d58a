import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Ctx, Services } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { invitationLink } from "../mail/mails.ts";
import { writeInvitation } from "./invitation.ts";

/** The invitation of a new tenant's owner: its link is for whoever sets the tenant up, who passes it on. */
export async function inviteFirstOwner(
  services: Services,
  { tenantId, email }: { tenantId: TenantId; email: string },
): Promise<{ link: string }> {
  const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "set-up" };
  return transact(ctx, async (tx) => {
    const { token } = await writeInvitation(ctx, tx, { email: email.toLowerCase(), role: "owner" });
    return { link: invitationLink(services.accounts.consoleUrl, token) };
  });
}
