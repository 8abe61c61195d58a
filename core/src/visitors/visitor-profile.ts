import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Trait, VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, parseId, uuidOf } from "../ids.ts";

export interface VisitorProfileRow {
  id: string;
  site_id: string | null;
  external_id: string | null;
  name: string | null;
  email: string | null;
  traits: Record<string, Trait>;
  identified_at: Date | null;
  created_at: Date;
}

export const PROFILE_COLUMNS =
  "v.id, v.site_id, v.external_id, v.name, v.email, v.traits, v.identified_at, v.created_at";

export function toVisitorProfile(row: VisitorProfileRow): VisitorProfile {
  return {
    id: idOf("visitor", row.id),
    siteId: row.site_id === null ? null : idOf("site", row.site_id),
    externalId: row.external_id,
    name: row.name,
    email: row.email,
    traits: row.traits,
    identifiedAt: row.identified_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
  };
}

// An anonymous visitor who was identified later is who they turned out to be.
const byId = statement<VisitorProfileRow>(
  "visitor_profile",
  `select ${PROFILE_COLUMNS} from visitors v
   where v.id = (select coalesce(w.merged_into, w.id) from visitors w where w.id = $1) and v.erased_at is null`,
);

/** Throws `not_found` also for a visitor who was erased. */
export async function findVisitorProfile(tx: Tx, id: string): Promise<VisitorProfile> {
  const visitorId: VisitorId = parseId("visitor", id, "visitor");
  const [row] = await tx.query(byId, [uuidOf(visitorId)]);
  if (!row) throw notFound("visitor");
  return toVisitorProfile(row);
}
