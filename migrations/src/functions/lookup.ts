import type { Roles } from "../roles.ts";

/** The look-ups that come before a tenant is known: which tenant does this key belong to, and is there any? */
export function lookupFunctions({ app, system }: Roles): string {
  return `
    create function resolve_publishable_key(key text)
    returns table (tenant_id uuid, site_id uuid, agent_id uuid, name text, allowed_origins text[], theme jsonb)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select s.tenant_id, s.id, s.agent_id, s.name, s.allowed_origins, s.theme from sites s where s.publishable_key = key
    $$;
    create function resolve_api_key(key_hash bytea)
    returns table (tenant_id uuid, api_key_id uuid, scopes text[])
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select k.tenant_id, k.id, k.scopes from api_keys k
      where k.hash = key_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
    $$;
    create function database_is_empty() returns boolean
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select not exists (select 1 from tenants)
    $$;
    create function is_origin_known(patterns text[]) returns boolean
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select exists (select 1 from sites s where s.allowed_origins && patterns)
    $$;
    create index sites_by_origin on sites using gin (allowed_origins);
    ${["resolve_publishable_key", "resolve_api_key", "database_is_empty", "is_origin_known"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
