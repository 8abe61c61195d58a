import type { ApiKeyId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import { hashSecretKey } from "./api-key.ts";
import { noteApiKeyUse } from "./api-key-use.ts";

export interface ResolvedApiKey {
  tenantId: TenantId;
  apiKeyId: ApiKeyId;
  scopes: string[];
}

const resolve = statement<{ tenant_id: string; api_key_id: string; scopes: string[] }>(
  "resolve_api_key",
  "select * from resolve_api_key($1)",
);

/** The tenant and scopes of a secret key (`sk_…`); null when it is unknown, revoked or expired. */
export async function resolveApiKey(
  services: Pick<Services, "db" | "clock">,
  key: string,
): Promise<ResolvedApiKey | null> {
  if (!key.startsWith("sk_")) return null;
  const [row] = await services.db.query(resolve, [hashSecretKey(key)]);
  if (!row) return null;
  const apiKeyId = idOf("key", row.api_key_id);
  noteApiKeyUse(services, apiKeyId);
  return { tenantId: idOf("tenant", row.tenant_id), apiKeyId, scopes: row.scopes };
}
