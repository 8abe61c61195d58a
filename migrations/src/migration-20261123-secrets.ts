import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** Data keys, the values sealed under them, and the tenants' own keys at model vendors. */
export class SecretsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(lookups(roles));
    await this.execute(openHeaders(roles));
  }
}

function tables(roles: Roles): string {
  return `
    create table data_keys (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      -- The key, sealed under a master key that the database never sees.
      wrapped bytea not null,
      master_key_id text not null,
      created_at timestamptz(3) not null default now(),
      -- Since when nothing new is sealed under it.
      retired_at timestamptz(3)
    );
    create unique index data_key_in_use on data_keys (tenant_id) where retired_at is null;
    create index on data_keys (tenant_id);
    create index on data_keys (master_key_id);

    create table secrets (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      -- What it belongs to: sealed with it, so that it opens nowhere else.
      purpose text not null,
      owner_id uuid not null,
      field text not null,
      -- Deferred: a tenant's data keys and secrets go together.
      data_key_id uuid not null references data_keys deferrable initially deferred,
      sealed bytea not null,
      created_at timestamptz(3) not null default now()
    );
    create index secrets_of_owner on secrets (tenant_id, owner_id);
    create index secrets_by_data_key on secrets (data_key_id);

    create table provider_keys (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      name text not null,
      provider text not null check (provider in ('openai', 'anthropic', 'openai-compatible')),
      -- The only address this key is ever sent to, where the provider does not say it.
      base_url text,
      last4 text not null,
      created_at timestamptz(3) not null default now(),
      check ((base_url is not null) = (provider = 'openai-compatible'))
    );
    create index on provider_keys (tenant_id, id);
    ${tenantTable("data_keys", roles, "select, insert, update (wrapped, master_key_id, retired_at), delete")}
    ${tenantTable("secrets", roles, "select, insert, update (sealed, data_key_id), delete")}
    ${tenantTable("provider_keys", roles, "select, insert, delete")}
    grant select on data_keys, secrets, provider_keys to ${roles.system};
  `;
}

function lookups(roles: Roles): string {
  return `
    create function master_keys_in_use() returns table (master_key_id text, data_keys bigint)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select k.master_key_id, count(*) from data_keys k group by 1
    $$;
    create function data_keys_not_under(wanted_master_key_id text, after uuid, page int)
    returns table (tenant_id uuid, data_key_id uuid, master_key_id text)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select k.tenant_id, k.id, k.master_key_id from data_keys k
      where k.master_key_id <> wanted_master_key_id and (after is null or k.id > after) order by k.id limit page
    $$;
    create function tenants_with_data_keys(after uuid, page int) returns table (tenant_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select distinct k.tenant_id from data_keys k where after is null or k.tenant_id > after order by 1 limit page
    $$;
    -- One round trip for a run that is about to begin. What it answers opens only with a master key.
    create function provider_keys_of(of_tenant uuid)
    returns table (id uuid, provider text, base_url text, secret_id uuid, sealed bytea, data_key_id uuid, wrapped bytea)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select p.id, p.provider, p.base_url, s.id, s.sealed, k.id, k.wrapped
      from provider_keys p
      join secrets s on s.tenant_id = p.tenant_id and s.owner_id = p.id and s.purpose = 'provider_key'
      join data_keys k on k.id = s.data_key_id
      where p.tenant_id = of_tenant order by p.id desc
    $$;
    ${handOver(["provider_keys_of(uuid)", "master_keys_in_use()", "data_keys_not_under(text, uuid, int)", "tenants_with_data_keys(uuid, int)"], roles)}
  `;
}

/** Headers of HTTP toolkits that were stored before there was a place for secrets: a start seals them. */
function openHeaders(roles: Roles): string {
  return `
    create function has_open_headers(config jsonb) returns boolean language sql immutable parallel safe as $$
      select jsonb_path_exists(config, '$.toolkits[*].settings.headers.keyvalue() ? (@.value.type() == "string" && !(@.key like_regex
        "^(accept|accept-charset|accept-encoding|accept-language|api-version|cache-control|content-language|content-type|prefer|user-agent|x-api-version)$" flag "i"))')
    $$;
    -- Both are empty once all is sealed, so that looking costs nothing.
    create index agents_with_open_headers on agents (id) where has_open_headers(draft);
    create index agent_versions_with_open_headers on agent_versions (agent_id, version) where has_open_headers(config);

    create function agents_to_seal(page int) returns table (tenant_id uuid, agent_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select a.tenant_id, a.id from agents a where has_open_headers(a.draft)
      union
      select v.tenant_id, v.agent_id from agent_versions v where has_open_headers(v.config)
      limit page
    $$;

    -- What a version says beside its toolkits' secrets; it stays as it was published.
    create function without_headers(config jsonb) returns jsonb language sql immutable parallel safe as $$
      select jsonb_set(config, '{toolkits}', coalesce(
        (select jsonb_agg(t.choice #- '{settings,headers}' order by t.n)
         from jsonb_array_elements(config -> 'toolkits') with ordinality t (choice, n)), '[]'))
    $$;
    create function seal_version(of_agent uuid, of_version int, sealed_config jsonb) returns void
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    begin
      update agent_versions v set config = sealed_config
      where v.agent_id = of_agent and v.version = of_version and v.tenant_id = current_tenant()
        and has_open_headers(v.config) and not has_open_headers(sealed_config)
        and without_headers(v.config) = without_headers(sealed_config);
      if not found then raise exception 'seal_version: this would change more than how secrets are kept'; end if;
    end $$;
    grant update (config) on agent_versions to ${roles.system};
    ${handOver(["agents_to_seal(int)", "seal_version(uuid, int, jsonb)"], roles)}
  `;
}

function handOver(functions: readonly string[], { app, system }: Roles): string {
  return functions
    .map(
      (name) => `
      alter function ${name} owner to ${system};
      revoke execute on function ${name} from public;
      grant execute on function ${name} to ${app};`,
    )
    .join("\n");
}
