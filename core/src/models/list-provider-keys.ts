import type { ProviderKey } from "@agent-engine/protocol/provider-keys.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { cursorId, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { toProviderKey, type ProviderKeyRow } from "./provider-key.ts";

const COLUMNS = "id, name, provider, base_url, last4, created_at";

const newest = statement<ProviderKeyRow>(
  "provider_keys_list",
  `select ${COLUMNS} from provider_keys where tenant_id = $1 order by id desc limit $2`,
);
const below = statement<ProviderKeyRow>(
  "provider_keys_list_below",
  `select ${COLUMNS} from provider_keys where tenant_id = $1 and id < $3 order by id desc limit $2`,
);

/** The tenant's own keys at model vendors, newest first. */
export async function listProviderKeys(ctx: Ctx, page: PageRequest): Promise<Page<ProviderKey>> {
  const cursor = cursorId("pkey", page.cursor);
  const values = [uuidOf(ctx.tenantId), page.limit + 1];
  const rows = await transact(ctx, (tx) =>
    cursor === null ? tx.query(newest, values) : tx.query(below, [...values, uuidOf(cursor)]),
  );
  return pageOf(rows, page, toProviderKey);
}
