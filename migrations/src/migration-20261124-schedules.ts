import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** Runs that are to start later: follow-ups that agents plan, and what partners schedule. */
export class SchedulesMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(functions(roles));
  }
}

function tables(roles: Roles): string {
  return `
    create table schedules (
      id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      agent_id uuid not null references agents,
      -- Null: it starts one of its own, and is that one's from then on.
      conversation_id uuid references conversations on delete cascade,
      created_by text not null check (created_by in ('agent', 'staff')),
      -- Of the tool call that made it: a call that is repeated makes one.
      call_key text unique,
      input text not null,
      due_at timestamptz(3) not null,
      -- When it is tried next: later than due where a try has failed.
      try_at timestamptz(3) not null,
      tries int not null default 0,
      status text not null default 'open' check (status in ('open', 'started', 'cancelled', 'failed')),
      -- Why it did not start.
      reason text,
      run_id uuid references runs on delete set null,
      created_at timestamptz(3) not null default now(),
      ended_at timestamptz(3),
      check ((status = 'open') = (ended_at is null))
    );
    create index on schedules (tenant_id, id);
    create index on schedules (conversation_id) where conversation_id is not null;
    create index on schedules (agent_id);
    create index on schedules (run_id) where run_id is not null;
    create index schedules_due on schedules (try_at) where status = 'open';
    create index schedules_over on schedules (ended_at) where conversation_id is null;
    ${tenantTable("schedules", roles, "select, insert, update, delete")}
    grant select, update, delete on schedules to ${roles.system};
  `;
}

function functions({ app, system }: Roles): string {
  return `
    create function due_schedules(max_rows int) returns table (id uuid, tenant_id uuid, conversation_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select s.id, s.tenant_id, s.conversation_id from schedules s
      where s.status = 'open' and s.try_at <= now() order by s.try_at limit max_rows
    $$;
    -- Those that never got a conversation; the others go with theirs.
    create function prune_schedules(max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      delete from schedules s using (
          select o.id from schedules o where o.conversation_id is null and o.ended_at < now() - interval '30 days'
            order by o.ended_at limit max_rows for update skip locked
        ) old where s.id = old.id;
      get diagnostics pruned = row_count;
      return pruned;
    end $$;
    ${["due_schedules(int)", "prune_schedules(int)"]
      .map(
        (name) => `
          alter function ${name} owner to ${system};
          revoke execute on function ${name} from public;
          grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
