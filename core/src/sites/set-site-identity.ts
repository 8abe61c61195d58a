import type { IdentityAlgorithm, SiteIdentity } from "@agent-engine/protocol/visitors.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { checkUrl, EgressRefused } from "../net/egress.ts";
import { forgetSecretsOf } from "../secrets/secrets.ts";
import { findSiteIdentity, storeSiteIdentity, toSiteIdentity } from "./site-identity.ts";

export interface SetSiteIdentity {
  siteId: string;
  /** One algorithm and no other: a public key can never be mistaken for a secret. */
  algorithm: Exclude<IdentityAlgorithm, "HS256">;
  jwksUrl: string;
}

/** Lets visitors be identified by tokens that are signed with a key of the customer's own. Ends a secret there was. */
export async function setSiteIdentity(ctx: Ctx, input: SetSiteIdentity): Promise<SiteIdentity> {
  const jwksUrl = checkedUrl(input.jwksUrl);
  const now = ctx.services.clock();
  return transact(ctx, async (tx) => {
    const { siteId, row } = await findSiteIdentity(tx, input.siteId, { lock: true });
    const stored = await storeSiteIdentity(
      tx,
      { siteId, tenantId: ctx.tenantId },
      {
        algorithm: input.algorithm,
        jwks_url: jwksUrl,
        secret_id: null,
        previous_secret_id: null,
        previous_until: null,
        hint: null,
      },
    );
    await forgetSecretsOf(ctx, tx, siteId);
    const after = toSiteIdentity(stored, now);
    await audit(ctx, tx, {
      action: "site.identity_changed",
      target: { kind: "site", id: siteId },
      before: { ...toSiteIdentity(row, now) },
      after: { ...after },
    });
    return after;
  });
}

/** What may be fetched is decided when it is; what can never be is refused here, where somebody reads why. */
function checkedUrl(text: string): string {
  const url = URL.parse(text);
  const isLocal = url !== null && ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (!url || (url.protocol !== "https:" && !(url.protocol === "http:" && isLocal))) {
    throw new ProblemError("invalid_request", "`jwksUrl` must be an address that begins with `https://`.");
  }
  try {
    checkUrl(url, { allowLoopback: true });
  } catch (error) {
    if (error instanceof EgressRefused) throw new ProblemError("invalid_request", `\`jwksUrl\`: ${error.message}`);
    throw error;
  }
  return url.href;
}
