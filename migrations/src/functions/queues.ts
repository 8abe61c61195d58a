import type { Roles } from "../roles.ts";

/**
 * Who goes next. A doorbell is rung at once while there are places and nobody waits; everybody else waits in Postgres,
 * where a worker that has a place takes the next in the fair order. They see all tenants, so they are the system
 * role's; the serving role may only call them.
 */
export function queueFunctions({ app, system }: Roles): string {
  const functions: [name: string, sql: string][] = [
    ["tenant_cap", tenantCap],
    ["tenant_has_place", tenantHasPlace],
    ["uncap_jobs", uncapJobs],
    ["first_job_state", firstJobState],
    ["enqueue_run", enqueueRun],
    ["unblock_next", unblockNext],
    ["fair_order", fairOrder],
    ["dispatch_jobs", dispatchJobs],
    ["sweep_runs", sweepRuns],
    ["prune_jobs", pruneJobs],
  ];
  return `
    drop function dispatch_jobs(text, int);
    drop function enqueue_run(uuid, int, uuid, text, text, boolean);
    drop function unblock_next(uuid);
    drop function sweep_runs(interval, int);
    drop function free_slots(text);
    ${functions
      .map(
        ([name, sql]) => `
        ${sql}
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}

const tenantCap = `
  -- Runs the tenant may have running at once; null: any number.
  create function tenant_cap(of_tenant uuid) returns int language sql stable security definer
    set search_path = pg_catalog, public, pg_temp as $$
    select coalesce(
      (select t.max_running from tenants t where t.id = of_tenant),
      (select min(w.tenant_runs) from workers w where w.expires_at > now()))
  $$;
`;

const tenantHasPlace = `
  -- Asked by claim_run, which holds head and run, before a run becomes one of its tenant's running ones. A tenant's claims
  -- go one by one here, so two at once cannot both take the last place; a tenant without a cap waits for nobody. Refused,
  -- the run waits until its tenant has room.
  create function tenant_has_place(of_tenant uuid, of_run uuid, of_hand_over int) returns boolean language plpgsql security definer
    set search_path = pg_catalog, public, pg_temp as $$
  declare
    -- As tenant_cap, written out: this is on the way of every run.
    cap int := coalesce(
      (select t.max_running from tenants t where t.id = of_tenant),
      (select min(w.tenant_runs) from workers w where w.expires_at > now()));
  begin
    if cap is null then return true; end if;
    perform pg_advisory_xact_lock(hashtextextended('agent-engine:tenant:' || of_tenant, 0));
    if (select count(*) from (
          select 1 from runs r where r.tenant_id = of_tenant and r.status = 'running' limit cap) taken) < cap then
      return true;
    end if;
    update jobs j set state = 'pending', capped = true, dispatched_at = null, worker_id = null
      where j.run_id = of_run and j.hand_over = of_hand_over and j.state in ('pending', 'dispatched');
    return false;
  end $$;
`;

const uncapJobs = `
  -- Lets runs of capped tenants join those who wait, as many as their tenants have room for. Answers how many tenants
  -- still hold some back.
  create function uncap_jobs() returns int language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  declare
    of_tenant uuid;
    cap int;
    taken int;
    held_back int := 0;
  begin
    select j.tenant_id into of_tenant from jobs j where j.state = 'pending' and j.capped order by j.tenant_id limit 1;
    if not found or not pg_try_advisory_xact_lock(hashtext('agent-engine:uncap')) then return held_back; end if;
    while of_tenant is not null loop
      cap := tenant_cap(of_tenant);
      taken := (select count(*) from runs r where r.tenant_id = of_tenant and r.status = 'running')
        + (select count(*) from jobs j join runs r on r.id = j.run_id
            where j.state = 'dispatched' and j.queue_class in ('priority', 'standard') and j.tenant_id = of_tenant and r.status <> 'running')
        + (select count(*) from jobs j
            where j.state = 'pending' and not j.capped and j.queue_class in ('priority', 'standard') and j.tenant_id = of_tenant);
      if cap is null or cap > taken then
        update jobs j set capped = false from (
            select c.run_id, c.hand_over from jobs c where c.state = 'pending' and c.capped and c.tenant_id = of_tenant
              order by c.queue_class, c.run_id limit case when cap is null then 1000 else cap - taken end
          ) free
          where j.run_id = free.run_id and j.hand_over = free.hand_over and j.state = 'pending';
      end if;
      if exists (select 1 from jobs j where j.state = 'pending' and j.capped and j.tenant_id = of_tenant) then
        held_back := held_back + 1;
      end if;
      of_tenant := (select j.tenant_id from jobs j where j.state = 'pending' and j.capped and j.tenant_id > of_tenant
        order by j.tenant_id limit 1);
    end loop;
    return held_back;
  end $$;
`;

const firstJobState = `
  -- \`dispatched\`: there is a place and nobody waits for it; \`pending\`: it waits for its turn; \`capped\`: also for its
  -- tenant's. Places of live workers for the class that no run and no rung doorbell has taken are free. tenant_cap is written out:
  -- this is on the way of every message.
  create function first_job_state(of_tenant uuid, of_class text) returns text language plpgsql security definer
    set search_path = pg_catalog, public, pg_temp as $$
  declare
    free bigint;
    cap int;
  begin
    select sum(greatest(0, least(w.slots - w.active,
        case when of_class = 'standard' then coalesce(w.background_slots, w.slots) - w.background_active else w.slots end))), min(w.tenant_runs)
      into free, cap from workers w where w.expires_at > now();
    cap := coalesce((select t.max_running from tenants t where t.id = of_tenant), cap);
    if cap is not null and (
        exists (select 1 from jobs j where j.state = 'pending' and j.capped and j.tenant_id = of_tenant)
        or (select count(*) from (select 1 from runs r where r.tenant_id = of_tenant and r.status = 'running' limit cap) taken) >= cap
      ) then
      return 'capped';
    end if;
    if exists (select 1 from jobs j where j.state = 'pending' and not j.capped and j.queue_class = of_class) then return 'pending'; end if;
    -- Without any worker it is rung: the first one that comes hears it.
    if free is not null and free <= (
        select count(*) from (select 1 from jobs j where j.state = 'dispatched' and j.queue_class = of_class limit 4096) rung) then
      return 'pending';
    end if;
    return 'dispatched';
  end $$;
`;

const enqueueRun = `
  -- Puts a run's doorbell on record. Answers the state it got: \`dispatched\` tells the caller to ring at once, \`pending\`
  -- that it waits for its turn, \`blocked\` that another run of its conversation goes first.
  create function enqueue_run(of_run uuid, of_hand_over int, of_tenant uuid, of_class text, of_correlation text, is_blocked boolean)
  returns text language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  declare
    chosen text;
  begin
    if current_tenant() is distinct from of_tenant then raise exception 'enqueue_run: the tenant is not the session''s'; end if;
    chosen := case when is_blocked then 'blocked' else first_job_state(of_tenant, of_class) end;
    insert into jobs (run_id, hand_over, tenant_id, queue_class, state, capped, correlation_id, dispatched_at)
      values (of_run, of_hand_over, of_tenant, of_class, case when chosen = 'capped' then 'pending' else chosen end,
        chosen = 'capped', of_correlation, case when chosen = 'dispatched' then now() end);
    return case when chosen = 'capped' then 'pending' else chosen end;
  end $$;
`;

const unblockNext = `
  -- A conversation's active run is over: its oldest queued run may go. Answers its doorbell, if there is one. Oldest by
  -- its place in the log, not by its id: ids come from the clocks of many servers. From now on it waits for a place.
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
    chosen := first_job_state(next_run.tenant_id, next_run.queue_class);
    return query
    update jobs j set state = case when chosen = 'capped' then 'pending' else chosen end, capped = chosen = 'capped', run_after = now(),
        dispatched_at = case when chosen = 'dispatched' then now() end
      where j.run_id = next_run.id and j.state = 'blocked'
      returning j.run_id, j.hand_over, j.queue_class, j.correlation_id, j.state;
  end $$;
`;

const fairOrder = `
  -- The fair order of a class: the tenant with the fewest runs under way plus runs before it in this order goes first, and
  -- within a tenant the oldest. No more than so many of each tenant are looked at. Stepping from tenant to tenant by the
  -- index, it costs what it answers, not what waits behind.
  create function fair_order(of_class text, of_each int, max_jobs int)
  returns table (place bigint, run_id uuid, hand_over int)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
    with recursive waiting as (
      (select j.tenant_id from jobs j where j.state = 'pending' and not j.capped and j.queue_class = of_class
        order by j.tenant_id limit 1)
      union all
      select (select j.tenant_id from jobs j
          where j.state = 'pending' and not j.capped and j.queue_class = of_class and j.tenant_id > w.tenant_id
          order by j.tenant_id limit 1)
        from waiting w where w.tenant_id is not null
    ), rung as materialized (
      select j.tenant_id, count(*) as n from jobs j where j.state = 'dispatched' and j.queue_class = of_class group by j.tenant_id
    ), busy as (
      select w.tenant_id, coalesce(g.n, 0)
          + (select count(*) from runs r where r.tenant_id = w.tenant_id and r.queue_class = of_class and r.status = 'running') as n
        from waiting w left join rung g on g.tenant_id = w.tenant_id where w.tenant_id is not null
    )
    select row_number() over (order by c.turn, c.run_id), c.run_id, c.hand_over
    from (
      select q.run_id, q.hand_over,
        case when q.goes_on then 0 else b.n + row_number() over (partition by b.tenant_id order by q.run_id) end as turn
      from busy b cross join lateral (
        select j.run_id, j.hand_over, j.goes_on from jobs j
          where j.state = 'pending' and not j.capped and j.queue_class = of_class and j.tenant_id = b.tenant_id
          order by j.run_id limit of_each
      ) q
    ) c
    order by c.turn, c.run_id limit max_jobs
  $$;
`;

const dispatchJobs = `
  -- Hands the next in the fair order to a worker that has places for them. Workers pick one after the other: each must
  -- see what the one before it took.
  create function dispatch_jobs(of_worker uuid, of_class text, max_jobs int)
  returns table (run_id uuid, hand_over int, correlation_id text)
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  #variable_conflict use_column
  begin
    perform uncap_jobs();
    if max_jobs <= 0
      or not exists (select 1 from jobs j where j.state = 'pending' and not j.capped and j.queue_class = of_class) then return; end if;
    perform pg_advisory_xact_lock(hashtext('agent-engine:dispatch:' || of_class));
    return query
    with handed as (
      update jobs j set state = 'dispatched', dispatched_at = now(), worker_id = of_worker
        from fair_order(of_class, max_jobs, max_jobs) f
        where j.run_id = f.run_id and j.hand_over = f.hand_over and j.state = 'pending'
        returning j.run_id, j.hand_over, j.correlation_id, f.place
    )
    select h.run_id, h.hand_over, h.correlation_id from handed h order by h.place;
  end $$;
`;

const sweepRuns = `
  -- Rings again for every run that should move and does not: its worker's heartbeat expired, its doorbell was lost, or
  -- the run it waited for is gone. The old doorbell becomes void, since the hand-over number rises. A late doorbell of a
  -- run that has moved on is only settled. It looks at what is under way and at what waits, never at what has ended.
  create function sweep_runs(lost_after interval, max_runs int)
  returns table (run_id uuid, hand_over int, reason text)
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  #variable_conflict use_column
  begin
    -- Two at once would each raise the same hand-overs, and ring twice.
    if not pg_try_advisory_xact_lock(hashtext('agent-engine:sweep')) then return; end if;
    return query
    with recursive late as (
      select j.run_id, j.hand_over,
        r.hand_over = j.hand_over and (
          r.status = 'queued'
          or (r.status = 'waiting' and r.resume is not null)
          or (r.status = 'running' and not exists (select 1 from workers w where w.id = r.worker_id and w.expires_at > now()))
        ) as is_due
      from jobs j join runs r on r.id = j.run_id
        where j.state = 'dispatched' and j.queue_class in ('priority', 'standard')
          and (j.dispatched_at < now() - lost_after
            or (j.worker_id is not null and not exists (select 1 from workers w where w.id = j.worker_id and w.expires_at > now()))
            -- The broker's: whoever was to answer it may be the worker that has died since.
            or (j.worker_id is null and j.dispatched_at < now() - interval '1 second'
              and exists (select 1 from workers w where w.expires_at > j.dispatched_at and w.expires_at <= now())))
        limit max_runs
    ), holders as (
      (select r.worker_id from runs r where r.status = 'running' and r.worker_id is not null order by r.worker_id limit 1)
      union all
      select (select r.worker_id from runs r where r.status = 'running' and r.worker_id > h.worker_id order by r.worker_id limit 1)
        from holders h where h.worker_id is not null
    ), orphaned as (
      -- Where every heartbeat stopped at once it was the database that was away: those who live get time to say so.
      select r.id, r.hand_over from holders h join runs r on r.worker_id = h.worker_id and r.status = 'running'
        left join workers d on d.id = h.worker_id
        where d.id is null or d.expires_at <= now() and (
          exists (select 1 from workers w where w.expires_at > now() and w.held_since < d.expires_at)
          or coalesce((select min(w.held_since) from workers w where w.expires_at > now()), '-infinity') < now() - interval '2 seconds')
      union all
      select r.id, r.hand_over from runs r where r.status = 'running' and r.worker_id is null
    ), stranded as (
      select o.id, 'orphaned' as reason from orphaned o
        where not exists (
          select 1 from jobs j where j.run_id = o.id and j.hand_over = o.hand_over and j.state in ('pending', 'dispatched'))
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
        returning r.id, r.hand_over, r.tenant_id, r.queue_class, r.correlation_id, r.status, s.reason
    ), closed as (
      update jobs j set state = 'done'
        from (select id as run_id, null::int as hand_over from moved union all
              select l.run_id, l.hand_over from late l where not l.is_due) settled
        where j.run_id = settled.run_id and j.hand_over = coalesce(settled.hand_over, j.hand_over) and j.state not in ('done', 'dead')
    ), rung as (
      insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id, goes_on,
          told_at, told_position, told_delay_ms, logged_position, logged_delay_ms)
        select m.id, m.hand_over, m.tenant_id, m.queue_class, 'pending', m.correlation_id, m.status = 'running',
          coalesce(o.told_at, '-infinity'), o.told_position, o.told_delay_ms, o.logged_position, o.logged_delay_ms
        from moved m left join jobs o on o.run_id = m.id and o.hand_over = m.hand_over - 1
    )
    select m.id, m.hand_over, m.reason from moved m;
  end $$;
`;

const pruneJobs = `
  -- Forgets what was rung and answered long ago, so many at a time; dead letters stay. A run's id tells its age, so the
  -- oldest are found by the primary key.
  create function prune_jobs(older_than interval, max_rows int) returns int language plpgsql security definer
    set search_path = pg_catalog, public, pg_temp as $$
  declare
    horizon uuid := rpad(lpad(to_hex((extract(epoch from now() - older_than) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
    pruned int;
  begin
    delete from jobs where ctid = any (array(
      select j.ctid from jobs j where j.run_id < horizon and j.state = 'done' order by j.run_id limit max_rows));
    get diagnostics pruned = row_count;
    return pruned;
  end $$;
`;
