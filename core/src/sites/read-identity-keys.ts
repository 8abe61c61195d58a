import type { SiteId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { readSecrets } from "../secrets/secrets.ts";
import type { IdentityKeys } from "../visitors/identity-token.ts";
import type { JwksReader } from "../visitors/jwks.ts";
import { findSiteIdentity, identityPlace, secretIdOf } from "./site-identity.ts";

/** What the identity tokens of a site are checked with. Throws `unauthenticated` where the site identifies nobody. */
export async function readIdentityKeys(ctx: Ctx, jwks: JwksReader, siteId: SiteId): Promise<IdentityKeys> {
  const now = ctx.services.clock();
  return transact(ctx, async (tx): Promise<IdentityKeys> => {
    const { row } = await findSiteIdentity(tx, siteId);
    if (row && row.algorithm !== "HS256" && row.jwks_url !== null) {
      return { algorithm: row.algorithm, keyOf: jwks.keysOf(row.jwks_url) };
    }
    const isOverlapping = (row?.previous_until?.getTime() ?? 0) > now;
    const ids = [row?.secret_id, isOverlapping ? row?.previous_secret_id : null].flatMap((id) =>
      id ? [secretIdOf(id)] : [],
    );
    const opened = await readSecrets(
      ctx,
      tx,
      ids.map((id) => ({ id, ...identityPlace(siteId) })),
    );
    const secrets = ids.flatMap((id) => opened.get(id) ?? []);
    if (secrets.length === 0) {
      throw new ProblemError(
        "unauthenticated",
        "The `identityToken` is refused: this site identifies nobody. Make it a secret with `POST /v1/sites/{siteId}/identity-secret`, or name your JWKS URL.",
      );
    }
    return { algorithm: "HS256", secrets };
  });
}
