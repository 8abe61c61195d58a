import { randomBytes } from "node:crypto";
import type { NewIdentitySecret } from "@agent-engine/protocol/visitors.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { hintOf } from "../secrets/mask.ts";
import { forgetSecrets, keepSecret } from "../secrets/secrets.ts";
import { findSiteIdentity, identityPlace, secretIdOf, storeSiteIdentity, toSiteIdentity } from "./site-identity.ts";

/**
 * Makes the secret that a site's identity tokens are signed with (HS256), or replaces it: then the one before is good
 * for `overlapSeconds` more, and one that was still in the overlap of an earlier rotation ends now.
 */
export async function rotateIdentitySecret(
  ctx: Ctx,
  input: { siteId: string; overlapSeconds: number },
): Promise<NewIdentitySecret> {
  const now = ctx.services.clock();
  const secret = `isk_${randomBytes(32).toString("base64url")}`;
  return transact(ctx, async (tx) => {
    const { siteId, row } = await findSiteIdentity(tx, input.siteId, { lock: true });
    const secretId = await keepSecret(ctx, tx, identityPlace(siteId), secret);
    const overlaps = input.overlapSeconds > 0 && row?.secret_id;
    const stored = await storeSiteIdentity(
      tx,
      { siteId, tenantId: ctx.tenantId },
      {
        algorithm: "HS256",
        jwks_url: null,
        secret_id: uuidOf(secretId),
        previous_secret_id: overlaps ? row.secret_id : null,
        previous_until: overlaps ? new Date(now + input.overlapSeconds * 1_000) : null,
        hint: hintOf(secret),
      },
    );
    const gone = [row?.previous_secret_id, overlaps ? null : row?.secret_id].flatMap((id) =>
      id ? [secretIdOf(id)] : [],
    );
    await forgetSecrets(tx, gone);
    const after = toSiteIdentity(stored, now);
    await audit(ctx, tx, {
      action: "site.identity_secret_rotated",
      target: { kind: "site", id: siteId },
      before: { ...toSiteIdentity(row, now) },
      after: { ...after },
    });
    return { ...after, secret };
  });
}
