import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { forgetSecretsOf } from "../secrets/secrets.ts";
import { findSiteIdentity, toSiteIdentity } from "./site-identity.ts";

const remove = statement("site_identity_delete", "delete from site_identities where site_id = $1");

/** No visitor of the site can be identified any more. Those who are stay so until their sessions end. */
export async function deleteSiteIdentity(ctx: Ctx, id: string): Promise<void> {
  await transact(ctx, async (tx) => {
    const { siteId, row } = await findSiteIdentity(tx, id, { lock: true });
    if (!row) return;
    await tx.query(remove, [uuidOf(siteId)]);
    await forgetSecretsOf(ctx, tx, siteId);
    await audit(ctx, tx, {
      action: "site.identity_deleted",
      target: { kind: "site", id: siteId },
      before: { ...toSiteIdentity(row, ctx.services.clock()) },
    });
  });
}
