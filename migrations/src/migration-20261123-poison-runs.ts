import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/**
 * Tells runs that kill their workers from runs whose workers were only replaced: `runs.crashes` counts take-overs from
 * a worker that died, and nothing else. The second makes a run suspect, which only a quarantine process may execute;
 * after the third nobody does, and whoever claims it only writes its end.
 */
export class PoisonRunsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables);
    await this.execute(claimRun(roles));
  }
}

const tables = `
  alter table runs add column crashes int not null default 0, add column last_crash text;
  -- How a worker ended, where somebody saw it; and since when its heartbeats have not been interrupted.
  alter table workers add column ended_as text, add column held_since timestamptz(3) not null default now();
`;

function claimRun({ app, system }: Roles): string {
  return `
    drop function claim_run(uuid, int, uuid);

    -- A worker that leaves in good order takes its row with it. A row that is there and over is a worker that died.
    create function claim_run(doorbell_run uuid, doorbell_hand_over int, claiming_worker uuid, is_quarantine boolean)
    returns table (
      claim text, tenant_id uuid, conversation_id uuid, visitor_id uuid, agent_id uuid, agent_version int, epoch int, last_seq bigint,
      attempt int, correlation_id text, resume jsonb, interrupts jsonb, started_at timestamptz, created_at timestamptz, usage jsonb,
      crashes int, last_crash text
    )
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    declare
      head conversation_heads%rowtype;
      run runs%rowtype;
      kind text;
      dead workers%rowtype;
      new_attempt int;
      new_crashes int;
      new_last_crash text;
    begin
      select h.* into head from conversation_heads h
        where h.conversation_id = (select r.conversation_id from runs r where r.id = doorbell_run)
        for no key update;
      if not found then return; end if;
      select r.* into run from runs r where r.id = doorbell_run for no key update;
      if run.hand_over <> doorbell_hand_over then return; end if;
      if not exists (select 1 from workers w where w.id = claiming_worker and w.expires_at > now()) then return; end if;

      kind := case
        when run.status = 'queued' and head.run_id is null then 'start'
        when run.status = 'waiting' and run.resume is not null and head.run_id = run.id then 'resume'
        when run.status = 'running' and head.run_id = run.id
          and not exists (select 1 from workers w where w.id = run.worker_id and w.expires_at > now()) then 'takeover'
      end;
      if kind is null then return; end if;
      if kind <> 'takeover' and not tenant_has_place(run.tenant_id, run.id, doorbell_hand_over) then return; end if;

      -- A person's decision is a new beginning.
      new_attempt := case when kind = 'resume' then 1 else run.attempt + 1 end;
      new_crashes := case when kind = 'resume' then 0 else run.crashes end;
      new_last_crash := run.last_crash;
      if kind = 'takeover' and run.worker_id is not null then
        select w.* into dead from workers w where w.id = run.worker_id;
        if found then
          new_crashes := new_crashes + 1;
          new_last_crash := coalesce(dead.ended_as, 'its heartbeat stopped');
        end if;
      end if;
      if new_crashes >= 3 then
        kind := 'poison';
      elsif new_crashes = 2 and not is_quarantine then
        return query select 'suspect'::text, run.tenant_id, run.conversation_id, null::uuid, run.agent_id, run.agent_version, head.epoch,
          head.last_seq, run.attempt, run.correlation_id, null::jsonb, run.interrupts, now()::timestamptz, run.created_at::timestamptz,
          run.usage, new_crashes, new_last_crash;
        return;
      end if;

      update conversation_heads h set run_id = run.id, epoch = h.epoch + 1, run_pos = 0
        where h.conversation_id = head.conversation_id;
      update runs r set status = 'running', attempt = new_attempt, worker_id = claiming_worker, crashes = new_crashes,
          last_crash = new_last_crash, started_at = coalesce(r.started_at, now()), resume = null, interrupts = '[]'
        where r.id = run.id;
      update jobs j set state = 'done' where j.run_id = run.id and j.hand_over = doorbell_hand_over;
      return query select kind, run.tenant_id, run.conversation_id,
        (select c.visitor_id from conversations c where c.id = run.conversation_id), run.agent_id, run.agent_version, head.epoch + 1,
        head.last_seq, new_attempt, run.correlation_id, run.resume, run.interrupts,
        coalesce(run.started_at, now())::timestamptz(3), run.created_at::timestamptz, run.usage, new_crashes, new_last_crash;
    end $$;
    alter function claim_run owner to ${system};
    revoke execute on function claim_run from public;
    grant execute on function claim_run to ${app};
  `;
}
