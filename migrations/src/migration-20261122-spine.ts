import { Migration } from "@mikro-orm/migrations";
import { appendFunctions } from "./functions/append-events.ts";
import { dispatchFunctions } from "./functions/dispatch.ts";
import { knowledgeFunctions } from "./functions/knowledge.ts";
import { leaseFunctions } from "./functions/lease.ts";
import { lookupFunctions } from "./functions/lookup.ts";
import { runFunctions } from "./functions/runs.ts";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** The spine: tenants, agents, visitors, conversations with their log, runs, jobs, knowledge. */
export class SpineMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    for (const sql of [
      tenantContext(roles),
      tables,
      eventPartitions(roles),
      rowLevelSecurity(roles),
      appendFunctions(roles),
      leaseFunctions(roles),
      dispatchFunctions(roles),
      runFunctions(roles),
      knowledgeFunctions(roles),
      lookupFunctions(roles),
    ]) {
      await this.execute(sql);
    }
  }
}

function tenantContext({ app, system }: Roles): string {
  return `
    revoke create on schema public from public;
    grant usage on schema public to ${app}, ${system};
    grant create on schema public to ${system};

    create function current_tenant() returns uuid language sql stable parallel safe
      as $$ select nullif(current_setting('app.tenant_id', true), '')::uuid $$;
  `;
}

const tables = `
  create table tenants (
    id uuid primary key,
    name text not null,
    created_at timestamptz(3) not null default now()
  );

  create table api_keys (
    id uuid primary key,
    tenant_id uuid not null references tenants on delete cascade,
    name text not null,
    hash bytea not null unique,
    prefix text not null,
    scopes text[] not null,
    expires_at timestamptz(3),
    revoked_at timestamptz(3),
    created_at timestamptz(3) not null default now()
  );
  create index on api_keys (tenant_id);

  create table agents (
    id uuid primary key,
    tenant_id uuid not null references tenants on delete cascade,
    name text not null,
    draft jsonb not null,
    published_version int,
    created_at timestamptz(3) not null default now(),
    updated_at timestamptz(3) not null default now()
  );
  create index on agents (tenant_id, id);

  create table agent_versions (
    agent_id uuid not null references agents on delete cascade,
    version int not null,
    tenant_id uuid not null references tenants on delete cascade,
    config jsonb not null,
    published_at timestamptz(3) not null default now(),
    primary key (agent_id, version)
  );

  create table sites (
    id uuid primary key,
    tenant_id uuid not null references tenants on delete cascade,
    agent_id uuid not null references agents,
    name text not null,
    publishable_key text not null unique,
    allowed_origins text[] not null,
    theme jsonb not null default '{}',
    created_at timestamptz(3) not null default now()
  );
  create index on sites (tenant_id, id);

  create table visitors (
    id uuid primary key,
    tenant_id uuid not null references tenants on delete cascade,
    site_id uuid references sites on delete set null,
    external_id text,
    created_at timestamptz(3) not null default now(),
    unique (tenant_id, external_id)
  );

  create table conversations (
    id uuid primary key,
    tenant_id uuid not null references tenants on delete cascade,
    agent_id uuid not null references agents,
    site_id uuid references sites on delete set null,
    visitor_id uuid references visitors,
    mode text not null default 'agent' check (mode in ('agent', 'operator')),
    created_at timestamptz(3) not null default now()
  );
  create index on conversations (tenant_id, id);
  create index on conversations (visitor_id, id) where visitor_id is not null;

  -- The hot row of a conversation: narrow and without secondary indexes, so that updates stay on their page.
  create table conversation_heads (
    conversation_id uuid primary key references conversations on delete cascade,
    tenant_id uuid not null,
    last_seq bigint not null default 0,
    run_id uuid,
    epoch int not null default 0,
    run_pos bigint not null default 0
  ) with (fillfactor = 50);

  -- From here on a row belongs to its tenant through its conversation: checking the tenant again for each row would
  -- make every writer of a tenant lock one and the same row.
  create table runs (
    id uuid primary key,
    tenant_id uuid not null,
    conversation_id uuid not null references conversations on delete cascade,
    agent_id uuid not null references agents,
    agent_version int not null,
    queue_class text not null check (queue_class in ('priority', 'standard')),
    status text not null default 'queued'
      check (status in ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    attempt int not null default 0,
    hand_over int not null default 1,
    worker_id uuid,
    run_after timestamptz(3),
    interrupts jsonb not null default '[]',
    resume jsonb,
    usage jsonb not null default '[]',
    finish_reason text,
    error jsonb,
    correlation_id text not null,
    -- Where the run lies in its conversation's log.
    first_seq bigint not null default 1,
    last_seq bigint,
    created_at timestamptz(3) not null default now(),
    started_at timestamptz(3),
    finished_at timestamptz(3),
    foreign key (agent_id, agent_version) references agent_versions
  ) with (fillfactor = 70);
  create index on runs (tenant_id, id);
  create index runs_of_conversation on runs (conversation_id, id);
  create unique index one_active_run on runs (conversation_id) where status in ('running', 'waiting');
  create index runs_leased on runs (worker_id) where status = 'running';

  create table messages (
    id uuid primary key,
    tenant_id uuid not null,
    conversation_id uuid not null references conversations on delete cascade,
    run_id uuid references runs on delete set null,
    client_message_id text,
    role text not null check (role in ('user', 'assistant')),
    text text not null,
    created_at timestamptz(3) not null default now(),
    unique (conversation_id, client_message_id)
  );
  create index on messages (run_id);

  create table steps (
    run_id uuid not null references runs on delete cascade,
    step_index int not null,
    tenant_id uuid not null,
    key text not null unique,
    status text not null check (status in ('tools', 'finished')),
    message_id uuid,
    text text not null default '',
    usage jsonb not null default '[]',
    recorded_at timestamptz(3) not null default now(),
    finished_at timestamptz(3),
    primary key (run_id, step_index)
  );

  create table tool_invocations (
    idempotency_key text primary key,
    tenant_id uuid not null,
    run_id uuid not null,
    step_index int not null,
    call_index int not null,
    tool_call_id text not null,
    tool text not null,
    effect text not null check (effect in ('read', 'idempotent', 'write')),
    -- json, as in the log: arguments and results hold what a model or a tool sent.
    arguments json not null,
    status text not null default 'intended'
      check (status in ('intended', 'started', 'succeeded', 'failed', 'outcome_unknown', 'cancelled')),
    attempts int not null default 0,
    outcome json,
    decision json,
    recorded_at timestamptz(3) not null default now(),
    started_at timestamptz(3),
    finished_at timestamptz(3),
    unique (run_id, step_index, call_index),
    foreign key (run_id, step_index) references steps on delete cascade
  );

  -- Which workers live: a lease is as good as its worker's heartbeat.
  create table workers (
    id uuid primary key,
    slots int not null,
    active int not null default 0,
    started_at timestamptz(3) not null default now(),
    expires_at timestamptz(3) not null
  );

  -- Outbox and ledger of hand-overs: a row rings one doorbell for one run.
  create table jobs (
    run_id uuid not null references runs on delete cascade,
    hand_over int not null,
    tenant_id uuid not null,
    queue_class text not null,
    state text not null check (state in ('blocked', 'pending', 'dispatched', 'done')),
    correlation_id text not null,
    run_after timestamptz(3) not null default now(),
    dispatched_at timestamptz(3),
    created_at timestamptz(3) not null default now(),
    primary key (run_id, hand_over)
  ) with (fillfactor = 70);
  create index jobs_pending on jobs (queue_class, tenant_id, run_id) where state = 'pending';
  create index jobs_dispatched on jobs (queue_class, dispatched_at) where state = 'dispatched';

  create table idempotency_keys (
    tenant_id uuid not null references tenants on delete cascade,
    principal text not null,
    key text not null,
    route text not null,
    body_hash bytea not null,
    status int not null,
    response json not null,
    created_at timestamptz(3) not null default now(),
    primary key (tenant_id, principal, key)
  );
  create index on idempotency_keys (created_at);

  create table documents (
    id uuid primary key,
    tenant_id uuid not null references tenants on delete cascade,
    title text not null,
    url text,
    text text not null,
    status text not null check (status in ('queued', 'processing', 'ready', 'failed')),
    error text,
    created_at timestamptz(3) not null default now()
  );
  create index on documents (tenant_id, id);

  create table chunks (
    document_id uuid not null references documents on delete cascade,
    position int not null,
    tenant_id uuid not null,
    text text not null,
    search tsvector not null,
    primary key (document_id, position)
  );
  -- Of tenant and words together: a search reads its own tenant's entries and no others.
  create extension if not exists btree_gin;
  create index on chunks using gin (tenant_id, search);
`;

function eventPartitions({ app }: Roles): string {
  return `
    -- The log. Partitioned by conversation id: a UUIDv7 is ordered by time, so a month's conversations share a
    -- partition, reads prune to one, and retention can drop whole partitions.
    create table events (
      conversation_id uuid not null,
      seq bigint not null,
      tenant_id uuid not null,
      run_id uuid,
      epoch int,
      audience text not null check (audience in ('all', 'staff')),
      correlation_id text not null,
      at timestamptz(3) not null,
      -- json, not jsonb: it stores what was sent, and takes NUL and lone surrogates that a model may emit.
      event json not null,
      primary key (conversation_id, seq)
    ) partition by range (conversation_id);
    create table events_default partition of events default;

    -- Makes the monthly partitions from this month to so many months ahead; safe to call at any time.
    create function ensure_event_partitions(months_ahead int) returns void language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      month date := date_trunc('month', now() at time zone 'utc');
      name text;
      lower_bound text;
      upper_bound text;
    begin
      -- Every worker calls this; one after the other, the second finds them made.
      perform pg_advisory_xact_lock(hashtext('agent-engine:partitions'));
      for i in 0..months_ahead loop
        name := 'events_' || to_char(month, 'YYYY_MM');
        lower_bound := lpad(to_hex((extract(epoch from month::timestamp) * 1000)::bigint), 12, '0');
        upper_bound := lpad(to_hex((extract(epoch from (month + interval '1 month')::timestamp) * 1000)::bigint), 12, '0');
        if to_regclass('public.' || name) is null then
          execute format('create table public.%I partition of public.events for values from (%L) to (%L)', name,
            rpad(lower_bound, 32, '0')::uuid, rpad(upper_bound, 32, '0')::uuid);
        end if;
        month := month + interval '1 month';
      end loop;
    end $$;
    revoke execute on function ensure_event_partitions(int) from public;
    -- What a serving process may call: the owner's right to make tables, for this one purpose.
    create function ensure_event_partitions_ahead() returns void language sql security definer
      set search_path = pg_catalog, public, pg_temp as $$ select public.ensure_event_partitions(12) $$;
    revoke execute on function ensure_event_partitions_ahead() from public;
    grant execute on function ensure_event_partitions_ahead() to ${app};
    select ensure_event_partitions(12);
  `;
}

function rowLevelSecurity(roles: Roles): string {
  const { app, system } = roles;
  const all = "select, insert, update, delete";
  const tenantTables: [table: string, privileges: string][] = [
    ["api_keys", all],
    ["agents", all],
    ["agent_versions", "select, insert"],
    ["sites", all],
    ["visitors", all],
    ["conversations", all],
    ["conversation_heads", "select, insert, update (run_id, epoch, run_pos)"],
    ["runs", "select, insert, update"],
    ["messages", "select, insert, update, delete"],
    ["steps", "select, insert, update"],
    ["tool_invocations", "select, insert, update"],
    ["events", "select"],
    ["jobs", "select, insert, update"],
    ["idempotency_keys", "select, insert, delete"],
    ["documents", all],
    ["chunks", all],
  ];
  return `
    alter table tenants enable row level security;
    alter table tenants force row level security;
    create policy tenant on tenants to ${app} using (id = (select current_tenant())) with check (id = (select current_tenant()));
    create policy tenant_only on tenants as restrictive to ${app} using (id = (select current_tenant())) with check (id = (select current_tenant()));
    create policy system on tenants to ${system} using (true) with check (true);
    grant select, insert, update on tenants to ${app};
    ${tenantTables.map(([table, privileges]) => tenantTable(table, roles, privileges)).join("\n")}
    grant select, insert, update, delete on workers to ${app};
    -- What the functions that work across tenants do, and nothing more; of the log's partitions, nothing at all.
    grant select on tenants, workers, ${tenantTables.map(([table]) => table).join(", ")} to ${system};
    grant update on conversation_heads, runs to ${system};
    grant insert, update on jobs to ${system};
    grant insert on events to ${system};
    grant delete on idempotency_keys to ${system};
  `;
}
