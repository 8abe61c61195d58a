import type { Page } from "@agent-engine/protocol/resources.ts";
import type { VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { PROFILE_COLUMNS, toVisitorProfile, type VisitorProfileRow } from "./visitor-profile.ts";

const all = statement<VisitorProfileRow>(
  "visitors_of_tenant",
  `select ${PROFILE_COLUMNS} from visitors v
   where v.tenant_id = $1 and v.id < $2 and v.merged_into is null and v.erased_at is null order by v.id desc limit $3`,
);

const byExternalId = statement<VisitorProfileRow>(
  "visitors_by_external_id",
  `select ${PROFILE_COLUMNS} from visitors v
   where v.tenant_id = $1 and v.id < $2 and v.external_id = $4 and v.erased_at is null order by v.id desc limit $3`,
);

/** The tenant's visitors, newest first; with an `externalId` those that bear it, one a site at most. */
export async function listVisitors(
  ctx: Ctx,
  page: PageRequest & { externalId?: string | undefined },
): Promise<Page<VisitorProfile>> {
  const values = [uuidOf(ctx.tenantId), cursorUuid("visitor", page.cursor), page.limit + 1];
  const rows = await transact(ctx, (tx) =>
    page.externalId === undefined
      ? tx.query(all, values)
      : tx.query(byExternalId, [...values, cleanText(page.externalId)]),
  );
  return pageOf(rows, page, toVisitorProfile);
}
