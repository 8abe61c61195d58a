import { Migration } from "@mikro-orm/migrations";
import { outlookFunctions } from "./functions/outlook.ts";
import { queueFunctions } from "./functions/queues.ts";
import { rolesOf, type Roles } from "./roles.ts";

/** Queue classes with places of their own, fair order among tenants, caps, and what visitors are told while they wait. */
export class FairQueuesMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(queueFunctions(roles));
    await this.execute(outlookFunctions(roles));
  }
}

const tables = ({ system }: Roles) => `
  -- Dead: nobody will ring this doorbell again; the reason says why.
  alter table jobs drop constraint jobs_state_check,
    add constraint jobs_state_check check (state in ('blocked', 'pending', 'dispatched', 'done', 'dead')),
    add column reason text,
    -- Pending, but not before a run of its tenant makes room: the tenant is at its cap.
    add column capped boolean not null default false,
    -- Of a run that was under way already: it goes before runs that have not begun.
    add column goes_on boolean not null default false,
    -- The worker that took it from the backlog.
    add column worker_id uuid,
    -- What those who wait were told last, and what of it the log says.
    add column told_at timestamptz(3) not null default '-infinity',
    add column told_position int,
    add column told_delay_ms int,
    add column logged_position int,
    add column logged_delay_ms int;
  drop index jobs_pending;
  create index jobs_ready on jobs (queue_class, tenant_id, run_id) where state = 'pending' and not capped;
  create index jobs_capped on jobs (tenant_id, run_id) where state = 'pending' and capped;
  create index jobs_untold on jobs (queue_class, run_after) where state = 'pending' and told_at = '-infinity';
  create index jobs_dead on jobs (tenant_id, run_id) where state = 'dead';
  create index runs_running on runs (tenant_id, queue_class) where status = 'running';

  -- Runs a tenant may have running at once. Null: what the workers' configuration says, or any number.
  alter table tenants add column max_running int check (max_running > 0);

  alter table workers
    -- Places that background runs may hold; null: all of them.
    add column background_slots int,
    add column background_active int not null default 0,
    -- The cap of tenants that have none of their own.
    add column tenant_runs int,
    -- How long the last runs of each class held their places, in milliseconds.
    add column served_priority int[] not null default '{}',
    add column served_standard int[] not null default '{}';

  -- What is known of a class beyond the life of its workers, and when somebody last looked at who waits in it.
  create table queues (
    queue_class text primary key,
    looked_at timestamptz not null default '-infinity',
    looked_deep_at timestamptz not null default '-infinity',
    served int[] not null default '{}'
  );
  insert into queues (queue_class) values ('priority'), ('standard');
  grant select, update on queues to ${system};
  grant delete on jobs to ${system};
`;
