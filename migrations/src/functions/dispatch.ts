import type { Roles } from "../roles.ts";

/**
 * The dispatcher's and the sweeper's statements. They see all tenants, so they are the system role's; the serving
 * role may only call them.
 */
export function dispatchFunctions({ app, system }: Roles): string {
  const functions = `
    -- Slots of live workers that no run and no rung doorbell has taken; the broker's queue is kept this short.
    create function free_slots(of_class text) returns int language sql stable security definer
      set search_path = pg_catalog, public, pg_temp as $$
      select (2 * coalesce((select sum(greatest(w.slots - w.active, 0)) from workers w where w.expires_at > now()), 0))::int
        - (select count(*) from (select 1 from jobs j where j.state = 'dispatched' and j.queue_class = of_class limit 4096) waiting)::int
    $$;

    -- Puts a run's doorbell on record. Answers the state it got: \`dispatched\` tells the caller to ring at once,
    -- \`pending\` that there is a backlog which the dispatcher serves fairly, \`blocked\` that another run goes first.
    create function enqueue_run(of_run uuid, of_hand_over int, of_tenant uuid, of_class text, of_correlation text, is_blocked boolean)
    returns text language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    declare
      chosen text;
    begin
      if current_tenant() is distinct from of_tenant then raise exception 'enqueue_run: the tenant is not the session''s'; end if;
      chosen := case
        when is_blocked then 'blocked'
        when exists (select 1 from jobs j where j.state = 'pending' and j.queue_class = of_class) then 'pending'
        when free_slots(of_class) <= 0 and exists (select 1 from workers w where w.expires_at > now()) then 'pending'
        else 'dispatched'
      end;
      insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id, dispatched_at)
        values (of_run, of_hand_over, of_tenant, of_class, chosen, of_correlation, case when chosen = 'dispatched' then now() end);
      return chosen;
    end $$;

    -- A conversation's active run is over: its oldest queued run may go. Answers its doorbell, if there is one. Oldest by
    -- its place in the log, not by its id: ids come from the clocks of many servers.
    create function unblock_next(of_conversation uuid)
    returns table (run_id uuid, hand_over int, queue_class text, correlation_id text, state text)
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    declare
      next_run runs%rowtype;
      chosen text;
    begin
      select r.* into next_run from runs r
        where r.conversation_id = of_conversation and r.status = 'queued' order by r.first_seq limit 1;
      if not found then return; end if;
      if current_tenant() is distinct from next_run.tenant_id then raise exception 'unblock_next: the tenant is not the session''s'; end if;
      chosen := case
        when exists (select 1 from jobs j where j.state = 'pending' and j.queue_class = next_run.queue_class) then 'pending'
        when free_slots(next_run.queue_class) <= 0 and exists (select 1 from workers w where w.expires_at > now()) then 'pending'
        else 'dispatched'
      end;
      return query
      update jobs j set state = chosen, dispatched_at = case when chosen = 'dispatched' then now() end
        where j.run_id = next_run.id and j.state = 'blocked'
        returning j.run_id, j.hand_over, j.queue_class, j.correlation_id, j.state;
    end $$;

    -- Picks the next doorbells fairly: the tenant with the fewest runs running plus picked so far goes first.
    create function dispatch_jobs(of_class text, max_jobs int)
    returns table (run_id uuid, hand_over int, correlation_id text)
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    declare
      budget int;
    begin
      if not pg_try_advisory_xact_lock(hashtext('agent-engine:dispatch:' || of_class)) then return; end if;
      budget := least(max_jobs, free_slots(of_class));
      if budget <= 0 then return; end if;
      return query
      with busy as (
        select r.tenant_id, count(*) as n from runs r where r.status = 'running' and r.worker_id is not null group by r.tenant_id
      ), tenants_waiting as (
        select distinct j.tenant_id from jobs j where j.state = 'pending' and j.queue_class = of_class
      ), ranked as (
        select c.run_id, c.hand_over, coalesce(b.n, 0) + c.rank as turn
        from tenants_waiting t
        left join busy b on b.tenant_id = t.tenant_id
        cross join lateral (
          select j.run_id, j.hand_over, row_number() over (order by j.run_id) as rank
          from jobs j
          where j.state = 'pending' and j.queue_class = of_class and j.tenant_id = t.tenant_id and j.run_after <= now()
          order by j.run_id limit budget
        ) c
      ), picked as (
        select run_id, hand_over, turn from ranked order by turn, run_id limit budget
      ), handed as (
        update jobs j set state = 'dispatched', dispatched_at = now() from picked p
          where j.run_id = p.run_id and j.hand_over = p.hand_over and j.state = 'pending'
          returning j.run_id, j.hand_over, j.correlation_id, p.turn
      )
      select run_id, hand_over, correlation_id from handed order by turn, run_id;
    end $$;

    -- Rings again for every run that should move and does not: its worker's heartbeat expired, its doorbell was lost,
    -- or the run it waited for is gone. The old doorbell becomes void, since the hand-over number rises. A late doorbell
    -- of a run that has moved on is only settled.
    create function sweep_runs(lost_after interval, max_runs int)
    returns table (run_id uuid, hand_over int, reason text)
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    begin
      -- Two at once would each raise the same hand-overs, and ring twice.
      if not pg_try_advisory_xact_lock(hashtext('agent-engine:sweep')) then return; end if;
      return query
      with late as (
        select j.run_id, j.hand_over,
          r.hand_over = j.hand_over and (
            r.status = 'queued'
            or (r.status = 'waiting' and r.resume is not null)
            or (r.status = 'running' and not exists (select 1 from workers w where w.id = r.worker_id and w.expires_at > now()))
          ) as is_due
        from jobs j join runs r on r.id = j.run_id
          where j.state = 'dispatched' and j.queue_class in ('priority', 'standard') and j.dispatched_at < now() - lost_after
          limit max_runs
      ), stranded as (
        select r.id, 'orphaned' as reason from runs r
          where r.status = 'running'
            and not exists (select 1 from workers w where w.id = r.worker_id and w.expires_at > now())
            and not exists (select 1 from jobs j where j.run_id = r.id and j.hand_over = r.hand_over and j.state in ('pending', 'dispatched'))
        union all
        select l.run_id, 'doorbell lost' from late l where l.is_due
        union all
        select r.id, 'unblocked' from jobs j join runs r on r.id = j.run_id
          join conversation_heads h on h.conversation_id = r.conversation_id
          where j.state = 'blocked' and j.created_at < now() - interval '1 second' and r.status = 'queued' and h.run_id is null
            and not exists (select 1 from runs o
              where o.conversation_id = r.conversation_id and o.status = 'queued' and o.first_seq < r.first_seq)
        limit max_runs
      ), moved as (
        update runs r set hand_over = r.hand_over + 1 from stranded s
          where r.id = s.id and r.status in ('queued', 'running', 'waiting')
          returning r.id, r.hand_over, r.tenant_id, r.queue_class, r.correlation_id, s.reason
      ), closed as (
        update jobs j set state = 'done'
          from (select id as run_id, null::int as hand_over from moved union all
                select l.run_id, l.hand_over from late l where not l.is_due) settled
          where j.run_id = settled.run_id and j.hand_over = coalesce(settled.hand_over, j.hand_over) and j.state <> 'done'
      ), rung as (
        insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id)
        select id, hand_over, tenant_id, queue_class, 'pending', correlation_id from moved
      )
      select id, hand_over, reason from moved;
    end $$;

    -- Forgets saved responses that nobody will ask for again, so many at a time.
    create function prune_idempotency_keys(older_than interval, max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      delete from idempotency_keys where ctid = any (array(
        select k.ctid from idempotency_keys k where k.created_at < now() - older_than limit max_rows));
      get diagnostics pruned = row_count;
      return pruned;
    end $$;

    -- The heads of many conversations at once, for the hubs' repair.
    create function heads_of(conversations uuid[]) returns table (conversation_id uuid, last_seq bigint)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select h.conversation_id, h.last_seq from conversation_heads h where h.conversation_id = any (conversations)
    $$;
  `;
  return `
    create index jobs_blocked on jobs (created_at) where state = 'blocked';
    ${functions}
    ${["free_slots", "enqueue_run", "unblock_next", "dispatch_jobs", "sweep_runs", "prune_idempotency_keys", "heads_of"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
