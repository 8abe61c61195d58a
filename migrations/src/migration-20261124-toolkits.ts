import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** Toolkits that tenants install, what was found in them, and the accounts that are connected for them. */
export class ToolkitsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(functions(roles));
  }
}

function tables(roles: Roles): string {
  return `
    create table toolkits (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      kind text not null check (kind in ('http', 'openapi', 'mcp', 'composio')),
      -- Namespace of its tools' names.
      name text not null,
      title text not null,
      -- The latest one.
      revision int not null,
      deleted_at timestamptz(3),
      created_at timestamptz(3) not null,
      updated_at timestamptz(3) not null
    );
    create index on toolkits (tenant_id, id desc);
    create unique index on toolkits (tenant_id, lower(name)) where deleted_at is null;
    ${tenantTable("toolkits", roles, "select, insert, update")}

    -- What an agent's version pins: never changed, only added.
    create table toolkit_revisions (
      toolkit_id uuid not null references toolkits on delete cascade,
      revision int not null,
      tenant_id uuid not null references tenants on delete cascade,
      -- Secrets are references.
      settings jsonb not null check (jsonb_typeof(settings) = 'object'),
      tools jsonb not null check (jsonb_typeof(tools) = 'array'),
      problems jsonb not null check (jsonb_typeof(problems) = 'array'),
      created_at timestamptz(3) not null,
      primary key (toolkit_id, revision)
    );
    create index on toolkit_revisions (tenant_id);
    ${tenantTable("toolkit_revisions", roles, "select, insert")}

    create table connections (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      toolkit_id uuid not null references toolkits on delete cascade,
      -- Null: the tenant's own.
      visitor_id uuid references visitors on delete cascade,
      label text,
      status text not null check (status in ('initiated', 'active', 'expired', 'failed', 'revoked')),
      -- Which of several is used where none is named.
      is_default boolean not null default false,
      -- Ids at the other side: shown to nobody.
      account jsonb not null default '{}' check (jsonb_typeof(account) = 'object'),
      -- Its tokens, among the secrets.
      secret_id uuid,
      scopes text[] not null default '{}',
      error text,
      expires_at timestamptz(3),
      checked_at timestamptz(3),
      deleted_at timestamptz(3),
      created_at timestamptz(3) not null,
      updated_at timestamptz(3) not null
    );
    create index on connections (tenant_id, id desc);
    create index on connections (toolkit_id, visitor_id);
    create index on connections (visitor_id) where visitor_id is not null;
    create index on connections ((account->>'connectedAccountId')) where account ? 'connectedAccountId';
    create index on connections (checked_at) where status = 'active' and deleted_at is null;
    create unique index on connections (toolkit_id) where is_default and visitor_id is null and deleted_at is null;
    ${tenantTable("connections", roles, "select, insert, update")}

    -- Somebody is on their way to the other side and back.
    create table connection_links (
      state_hash bytea primary key,
      tenant_id uuid not null references tenants on delete cascade,
      connection_id uuid not null references connections on delete cascade,
      -- The run that waits for it.
      run_id uuid references runs on delete cascade,
      -- Where they go.
      url text not null,
      -- What the other side said of it so far, and what the way back needs: ids, and a secret among the secrets.
      account jsonb not null check (jsonb_typeof(account) = 'object'),
      secret_id uuid,
      -- The browser that went: SHA-256 of its cookie.
      browser_hash bytea,
      used_at timestamptz(3),
      expires_at timestamptz(3) not null,
      created_at timestamptz(3) not null
    );
    create index on connection_links (tenant_id);
    create index on connection_links (connection_id);
    create index on connection_links (run_id) where run_id is not null;
    create index on connection_links (expires_at);
    ${tenantTable("connection_links", roles, "select, insert, update")}
    grant select, update, delete on connection_links, connections to ${roles.system};
    -- What the way back needed goes with the link.
    grant select, delete on secrets to ${roles.system};
  `;
}

function functions({ app, system }: Roles): string {
  return `
    -- Whoever comes back from the other side says no more than this.
    create function tenant_of_link(hash bytea) returns uuid
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select tenant_id from connection_links where state_hash = hash
    $$;
    create function tenant_of_account(connected_account_id text)
    returns table (tenant_id uuid, connection_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select c.tenant_id, c.id from connections c
      where c.account->>'connectedAccountId' = connected_account_id and c.deleted_at is null
    $$;
    create function connections_to_check(before timestamptz, max_rows int)
    returns table (tenant_id uuid, connection_id uuid)
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
      update connections c set checked_at = now() from (
        select o.id from connections o
        where o.status = 'active' and o.deleted_at is null and o.checked_at < before
        order by o.checked_at limit max_rows for update skip locked
      ) due where c.id = due.id
      returning c.tenant_id, c.id
    $$;
    create function prune_links(max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      with gone as (
        delete from connection_links l using (
          select o.state_hash from connection_links o where o.expires_at < now() - interval '1 day'
          order by o.expires_at limit max_rows for update skip locked
        ) old where l.state_hash = old.state_hash returning l.secret_id
      ), forgotten as (
        delete from secrets s using gone g where s.id = g.secret_id
      )
      select count(*) into pruned from gone;
      return pruned;
    end $$;
    ${["tenant_of_link(bytea)", "tenant_of_account(text)", "connections_to_check(timestamptz, int)", "prune_links(int)"]
      .map(
        (name) => `
          alter function ${name} owner to ${system};
          revoke execute on function ${name} from public;
          grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
