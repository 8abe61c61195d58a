import type { SiteId } from "@agent-engine/protocol/ids.ts";
import type { IdentityAlgorithm, SiteIdentity } from "@agent-engine/protocol/visitors.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, parseId, uuidOf } from "../ids.ts";
import { masked } from "../secrets/mask.ts";
import type { SecretId, SecretPlace } from "../secrets/secrets.ts";

export interface SiteIdentityRow {
  algorithm: IdentityAlgorithm;
  jwks_url: string | null;
  secret_id: string | null;
  previous_secret_id: string | null;
  previous_until: Date | null;
  hint: string | null;
}

const COLUMNS = "algorithm, jwks_url, secret_id, previous_secret_id, previous_until, hint";

const find = statement<SiteIdentityRow>(
  "site_identity_find",
  `select ${COLUMNS} from site_identities where site_id = $1`,
);

const siteThere = statement("site_there", "select id from sites where id = $1 and deleted_at is null");
const lockSite = statement("site_lock", "select id from sites where id = $1 and deleted_at is null for update");

/** The site's id and how it identifies visitors, null where it does not; locked when that is about to change. */
export async function findSiteIdentity(
  tx: Tx,
  id: string,
  options: { lock?: boolean } = {},
): Promise<{ siteId: SiteId; row: SiteIdentityRow | null }> {
  const siteId = parseId("site", id, "site");
  const [site] = await tx.query(options.lock ? lockSite : siteThere, [uuidOf(siteId)]);
  if (!site) throw notFound("site");
  const [row] = await tx.query(find, [uuidOf(siteId)]);
  return { siteId, row: row ?? null };
}

export function toSiteIdentity(row: SiteIdentityRow | null, now: number): SiteIdentity {
  const previous = row?.previous_secret_id ? row.previous_until : null;
  return {
    algorithm: row?.algorithm ?? null,
    jwksUrl: row?.jwks_url ?? null,
    secretHint: row?.secret_id ? masked(row.hint ?? "") : null,
    previousSecretExpiresAt: previous && previous.getTime() > now ? previous.toISOString() : null,
  };
}

/** Where a site's identity secrets are sealed. */
export function identityPlace(siteId: SiteId): SecretPlace {
  return { purpose: "site_identity", ownerId: siteId, field: "hs256" };
}

export function secretIdOf(uuid: string): SecretId {
  return idOf("secret", uuid);
}

const store = statement<SiteIdentityRow>(
  "site_identity_store",
  `insert into site_identities (site_id, tenant_id, algorithm, jwks_url, secret_id, previous_secret_id, previous_until, hint)
   values ($1, $2, $3, $4, $5, $6, $7, $8)
   on conflict (site_id) do update set algorithm = excluded.algorithm, jwks_url = excluded.jwks_url, secret_id = excluded.secret_id,
     previous_secret_id = excluded.previous_secret_id, previous_until = excluded.previous_until, hint = excluded.hint, updated_at = now()
   returning ${COLUMNS}`,
);

export async function storeSiteIdentity(
  tx: Tx,
  place: { siteId: SiteId; tenantId: string },
  row: SiteIdentityRow,
): Promise<SiteIdentityRow> {
  const [stored] = await tx.query(store, [
    uuidOf(place.siteId),
    uuidOf(place.tenantId),
    row.algorithm,
    row.jwks_url,
    row.secret_id,
    row.previous_secret_id,
    row.previous_until,
    row.hint,
  ]);
  if (!stored) throw new Error("the site's identity settings were not stored");
  return stored;
}
