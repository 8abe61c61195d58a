import type { Roles } from "../roles.ts";

/** The two look-ups that come before a tenant is known: which tenant does this key belong to? */
export function lookupFunctions({ app, system }: Roles): string {
  return `
    create function resolve_publishable_key(key text)
    returns table (tenant_id uuid, site_id uuid, agent_id uuid, name text, allowed_origins text[], theme jsonb)
    language sql stable security definer set search_path = pg_catalog, public as $$
      select s.tenant_id, s.id, s.agent_id, s.name, s.allowed_origins, s.theme from sites s where s.publishable_key = key
    $$;
    create function resolve_api_key(key_hash bytea)
    returns table (tenant_id uuid, api_key_id uuid, scopes text[])
    language sql stable security definer set search_path = pg_catalog, public as $$
      select k.tenant_id, k.id, k.scopes from api_keys k
      where k.hash = key_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    $$;
    ${["resolve_publishable_key", "resolve_api_key"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
