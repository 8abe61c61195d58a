import type { Roles } from "../roles.ts";

/**
 * Taking a run's lease, and reading a log in one round trip.
 *
 * `claim_run` is the compare-and-set behind every doorbell: it answers a row only to the one worker that may execute
 * the run now. Locks are always taken head first, then run, as every other writer does.
 */
export function leaseFunctions({ app, system }: Roles): string {
  return `
    create function claim_run(doorbell_run uuid, doorbell_hand_over int, claiming_worker uuid)
    returns table (
      claim text, tenant_id uuid, conversation_id uuid, visitor_id uuid, agent_id uuid, agent_version int, epoch int, last_seq bigint,
      attempt int, correlation_id text, resume jsonb, interrupts jsonb, started_at timestamptz, created_at timestamptz, usage jsonb
    )
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    declare
      head conversation_heads%rowtype;
      run runs%rowtype;
      kind text;
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

      update conversation_heads h set run_id = run.id, epoch = h.epoch + 1, run_pos = 0
        where h.conversation_id = head.conversation_id;
      update runs r set status = 'running', attempt = case when kind = 'resume' then 1 else r.attempt + 1 end, worker_id = claiming_worker,
          started_at = coalesce(r.started_at, now()), resume = null, interrupts = '[]'
        where r.id = run.id;
      update jobs j set state = 'done' where j.run_id = run.id and j.hand_over = doorbell_hand_over;
      return query select kind, run.tenant_id, run.conversation_id,
        (select c.visitor_id from conversations c where c.id = run.conversation_id), run.agent_id, run.agent_version, head.epoch + 1,
        head.last_seq, case when kind = 'resume' then 1 else run.attempt + 1 end, run.correlation_id, run.resume, run.interrupts,
        coalesce(run.started_at, now())::timestamptz(3), run.created_at::timestamptz, run.usage;
    end $$;
    alter function claim_run owner to ${system};
    revoke execute on function claim_run from public;
    grant execute on function claim_run to ${app};

    -- What a worker holds, of whichever tenant: it compares this with what it executes.
    create function runs_of_worker(of_worker uuid)
    returns table (run_id uuid, tenant_id uuid, conversation_id uuid, epoch int)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select r.id, r.tenant_id, r.conversation_id, h.epoch
      from runs r join conversation_heads h on h.conversation_id = r.conversation_id and h.run_id = r.id
      where r.worker_id = of_worker and r.status = 'running'
    $$;
    alter function runs_of_worker owner to ${system};
    revoke execute on function runs_of_worker from public;
    grant execute on function runs_of_worker to ${app};

    -- Runs as the caller, under row level security, with the tenant set for its one statement.
    create function read_events(reading_tenant uuid, of_conversation uuid, after_seq bigint, up_to bigint, of_run uuid, max_rows int)
    returns table (seq bigint, run_id uuid, audience text, correlation_id text, at timestamptz, event json)
    language plpgsql as $$
    #variable_conflict use_column
    begin
      perform set_config('app.tenant_id', reading_tenant::text, true);
      if of_run is null then
        return query select e.seq, e.run_id, e.audience, e.correlation_id, e.at::timestamptz, e.event from events e
          where e.conversation_id = of_conversation and e.seq > after_seq and e.seq <= up_to
          order by e.seq limit max_rows;
      else
        return query select e.seq, e.run_id, e.audience, e.correlation_id, e.at::timestamptz, e.event from events e
          where e.conversation_id = of_conversation and e.run_id = of_run and e.seq > after_seq and e.seq <= up_to
          order by e.seq limit max_rows;
      end if;
    end $$;
    revoke execute on function read_events from public;
    grant execute on function read_events to ${app};

    create function head_position(reading_tenant uuid, of_conversation uuid)
    returns table (run_id uuid, epoch int, run_pos bigint, last_seq bigint)
    language plpgsql as $$
    #variable_conflict use_column
    begin
      perform set_config('app.tenant_id', reading_tenant::text, true);
      return query select h.run_id, h.epoch, h.run_pos, h.last_seq from conversation_heads h where h.conversation_id = of_conversation;
    end $$;
    revoke execute on function head_position from public;
    grant execute on function head_position to ${app};
  `;
}
