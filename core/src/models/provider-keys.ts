import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { ProviderKeyProvider } from "@agent-engine/protocol/provider-keys.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf, uuidOf } from "../ids.ts";
import { CannotOpen } from "../secrets/sealed.ts";
import { openSecret } from "../secrets/secrets.ts";
import { plainBaseUrl, providerKeyPlace } from "./provider-key.ts";

/** A tenant's key, opened. */
export interface OpenProviderKey {
  provider: ProviderKeyProvider;
  baseUrl: string | null;
  /** Null when it cannot be opened: then nothing else is used in its stead. */
  apiKey: string | null;
}

/** A tenant's keys, newest first. */
export type ProviderKeys = readonly OpenProviderKey[];

/** The key to use: the newest of the provider, and of this address where the key is bound to one. */
export function keyFor(
  keys: ProviderKeys,
  provider: ProviderKeyProvider,
  baseUrl: string | null = null,
): OpenProviderKey | null {
  const address = baseUrl === null ? null : plainBaseUrl(baseUrl);
  return keys.find((key) => key.provider === provider && key.baseUrl === address) ?? null;
}

const ofTenant = statement<{
  id: string;
  provider: ProviderKeyProvider;
  base_url: string | null;
  secret_id: string;
  sealed: Buffer;
  data_key_id: string;
  wrapped: Buffer;
}>("provider_keys_of", "select * from provider_keys_of($1)");

/** As old as a tenant's keys may be when they are used. What hears of a change forgets them at once. */
const MAX_AGE_MS = 4_000;
/** From then on they are read anew beside whoever uses them, so that busy tenants never wait for it. */
const REFRESH_AFTER_MS = 1_500;
const MAX_TENANTS = 5_000;

interface Kept {
  keys: ProviderKeys;
  readAt: number;
}

export interface ProviderKeyReader {
  of(tenantId: TenantId): Promise<ProviderKeys>;
  close(): void;
}

/**
 * Reads tenants' keys and keeps them for seconds. A tenant without keys costs the same: one look-up, kept. While
 * Postgres does not answer, what was read last goes on: nobody can change it then.
 */
export function createProviderKeyReader(
  services: Pick<Services, "db" | "secrets" | "bus" | "log">,
  now: () => number = () => performance.now(),
): ProviderKeyReader {
  const kept = new Map<TenantId, Kept>();
  const reading = new Map<TenantId, Promise<ProviderKeys>>();

  function read(tenantId: TenantId): Promise<ProviderKeys> {
    const known = reading.get(tenantId);
    if (known) return known;
    const readAt = now();
    const promise = readProviderKeys(services, tenantId).then(
      (keys) => {
        // Forgotten while it was read: what was read may be from before the change.
        if (reading.get(tenantId) !== promise) return keys;
        reading.delete(tenantId);
        kept.delete(tenantId);
        const [oldest] = kept.keys();
        if (kept.size >= MAX_TENANTS && oldest !== undefined) kept.delete(oldest);
        kept.set(tenantId, { keys, readAt });
        return keys;
      },
      (error: unknown) => {
        if (reading.get(tenantId) === promise) reading.delete(tenantId);
        throw error;
      },
    );
    reading.set(tenantId, promise);
    return promise;
  }

  const subscription = services.bus.control.subscribe((message) => {
    if (message.kind !== "provider_keys.changed") return;
    kept.delete(message.tenantId);
    reading.delete(message.tenantId);
  });
  return {
    async of(tenantId) {
      const known = kept.get(tenantId);
      if (!known) return read(tenantId);
      const age = now() - known.readAt;
      if (age < REFRESH_AFTER_MS) return known.keys;
      const fresh = read(tenantId).catch((error: unknown) => {
        services.log.warn({ err: error, tenantId }, "a tenant's provider keys could not be read anew");
        return known.keys;
      });
      return age < MAX_AGE_MS ? known.keys : fresh;
    },
    close: () => void subscription.then((leave) => leave()),
  };
}

async function readProviderKeys(
  services: Pick<Services, "db" | "secrets" | "log">,
  tenantId: TenantId,
): Promise<ProviderKeys> {
  const rows = await services.db.query(ofTenant, [uuidOf(tenantId)]);
  return rows.map((row) => {
    const { provider, base_url: baseUrl } = row;
    const place = providerKeyPlace({ id: idOf("pkey", row.id), provider, baseUrl });
    try {
      const apiKey = openSecret({ services, tenantId }, { ...row, id: row.secret_id }, place);
      return { provider, baseUrl, apiKey };
    } catch (error) {
      if (!(error instanceof CannotOpen)) throw error;
      services.log.error({ err: error, tenantId }, "a tenant's provider key cannot be opened");
      return { provider, baseUrl, apiKey: null };
    }
  });
}
