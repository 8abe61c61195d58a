import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** Questions that end after a time, and the tools that visitors' pages offer. */
export class InterruptsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(functions(roles));
  }
}

function tables(roles: Roles): string {
  return `
    -- The first moment at which one of the run's open interrupts expires; null where none does.
    alter table runs add column interrupts_expire_at timestamptz(3);
    create index runs_waits_expire on runs (interrupts_expire_at) where status = 'waiting' and interrupts_expire_at is not null;

    -- What the pages offer on which the conversation's chat is open at the moment.
    create table client_tools (
      conversation_id uuid not null references conversations on delete cascade,
      page_id text not null check (length(page_id) <= 100),
      tenant_id uuid not null references tenants on delete cascade,
      -- [{name, description, parameters, resultSchema?}], as models are offered them.
      tools jsonb not null check (jsonb_typeof(tools) = 'array'),
      -- When the page came: the newest one wins a name.
      created_at timestamptz(3) not null,
      expires_at timestamptz(3) not null,
      primary key (conversation_id, page_id)
    );
    create index on client_tools (tenant_id);
    create index on client_tools (expires_at);
    ${tenantTable("client_tools", roles, "select, insert, update, delete")}
    grant select, update, delete on client_tools to ${roles.system};
  `;
}

function functions({ app, system }: Roles): string {
  return `
    create function expired_waits(at timestamptz, max_rows int) returns table (tenant_id uuid, run_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select r.tenant_id, r.id from runs r
      where r.status = 'waiting' and r.interrupts_expire_at <= at order by r.interrupts_expire_at limit max_rows
    $$;
    create function prune_client_tools(max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      delete from client_tools t using (
          select o.conversation_id, o.page_id from client_tools o where o.expires_at < now()
            order by o.expires_at limit max_rows for update skip locked
        ) old where t.conversation_id = old.conversation_id and t.page_id = old.page_id;
      get diagnostics pruned = row_count;
      return pruned;
    end $$;
    ${["expired_waits(timestamptz, int)", "prune_client_tools(int)"]
      .map(
        (name) => `
          alter function ${name} owner to ${system};
          revoke execute on function ${name} from public;
          grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
