import type { ProviderKey, ProviderKeyProvider } from "@agent-engine/protocol/provider-keys.ts";
import { idOf } from "../ids.ts";
import type { SecretPlace } from "../secrets/secrets.ts";

export interface ProviderKeyRow {
  id: string;
  name: string;
  provider: ProviderKeyProvider;
  base_url: string | null;
  last4: string;
  created_at: Date;
}

export function toProviderKey(row: ProviderKeyRow): ProviderKey {
  return {
    id: idOf("pkey", row.id),
    name: row.name,
    provider: row.provider,
    baseUrl: row.base_url,
    last4: row.last4,
    createdAt: row.created_at.toISOString(),
  };
}

/** Bound to the provider and the address too: a key that was moved to another one in the database opens nowhere. */
export function providerKeyPlace(key: { id: string; provider: string; baseUrl: string | null }): SecretPlace {
  return { purpose: "provider_key", ownerId: key.id, field: `${key.provider} ${key.baseUrl ?? ""}` };
}

/** Two spellings of one address. */
export function plainBaseUrl(baseUrl: string): string {
  return baseUrl.replace(/\/+$/, "");
}
