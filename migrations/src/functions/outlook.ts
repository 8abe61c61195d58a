import type { Roles } from "../roles.ts";

/**
 * What those who wait are told: `queue_outlook` says who waits where and how fast a class is served, the caller makes
 * places and delays of it, and `tell_queue` puts them on record. Both see all tenants, so they are the system role's.
 */
export function outlookFunctions({ app, system }: Roles): string {
  return [
    ["queue_outlook", queueOutlook],
    ["tell_queue", tellQueue],
  ]
    .map(
      ([name, sql]) => `
        ${sql}
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
    )
    .join("\n");
}

const queueOutlook = `
  -- Null when nobody waits, and when somebody else looked a moment ago: of all workers one looks at a time, and should it
  -- die the next one does. After each look all rest for four times as long as it took. Everybody who waits is put in order only when somebody new has to be told, and every few
  -- seconds; in between only those who are next.
  create function queue_outlook(of_class text, waited_ms int, front int, max_runs int) returns json
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  declare
    mine queues%rowtype;
    recent int[];
    is_deep boolean;
    long_ago timestamptz := now() - waited_ms * interval '1 millisecond';
    began timestamptz;
    answer json;
  begin
    if not exists (select 1 from jobs j where j.state = 'pending' and not j.capped and j.queue_class = of_class)
      and not exists (select 1 from jobs j where j.state = 'pending' and j.capped)
      and not exists (select 1 from jobs j where j.state = 'dispatched' and j.queue_class = of_class and j.dispatched_at < long_ago) then
      return null;
    end if;
    select q.* into mine from queues q
      where q.queue_class = of_class and q.looked_at < clock_timestamp() - interval '100 milliseconds' for no key update skip locked;
    if not found then return null; end if;
    began := clock_timestamp();
    is_deep := mine.looked_deep_at < clock_timestamp() - interval '5 seconds'
      or exists (select 1 from jobs j
        where j.state = 'pending' and j.told_at = '-infinity' and j.queue_class = of_class and j.run_after < long_ago);
    select array_agg(s.ms) into recent from workers w
      cross join lateral unnest(case when of_class = 'standard' then w.served_standard else w.served_priority end) as s (ms)
      where w.expires_at > now();
    with handed as (
      select row_number() over (order by j.dispatched_at, j.run_id) as place, j.run_id, j.hand_over from jobs j
        where j.state = 'dispatched' and j.queue_class = of_class and j.dispatched_at < long_ago limit 100
    ), in_order as (
      select h.place, h.run_id, h.hand_over, null::int as cap from handed h
      union all
      select f.place + (select count(*) from handed), f.run_id, f.hand_over, null
        from fair_order(of_class, case when is_deep then null else front end, case when is_deep then null else front end) f
      union all
      -- Behind their own tenant's runs, not behind the others'.
      select c.place, c.run_id, c.hand_over, tenant_cap(c.tenant_id) from (
        select row_number() over (partition by j.tenant_id order by j.run_id) as place, j.run_id, j.hand_over, j.tenant_id, j.queue_class
          from jobs j where j.state = 'pending' and j.capped
      ) c where c.queue_class = of_class
    ), concerned as (
      select o.place, o.cap, j.run_id, j.hand_over, j.told_at > '-infinity' as is_told, j.told_position, j.told_delay_ms,
          j.logged_position, j.logged_delay_ms
        from in_order o join jobs j on j.run_id = o.run_id and j.hand_over = o.hand_over
        where case when j.told_at = '-infinity' then coalesce(j.dispatched_at, j.run_after) < long_ago
          -- Nobody wants to be told something else every moment.
          else j.told_at < clock_timestamp() - interval '2 seconds'
            and (o.place <= front or o.place * 5 <= j.told_position * 4 or o.place * 4 >= j.told_position * 5) end
        order by j.told_at > '-infinity', o.place limit max_runs
    )
    select json_build_object(
      'places', (
        select coalesce(sum(case when of_class = 'standard' then least(w.slots, coalesce(w.background_slots, w.slots))
            else w.slots - case when exists (select 1 from jobs j where j.state = 'pending' and not j.capped and j.queue_class = 'standard')
              then least(coalesce(w.background_slots, 0), w.slots - 1) else w.background_active end end), 0)
          from workers w where w.expires_at > now()),
      'held', (
        select coalesce(json_agg(greatest(0, floor(extract(epoch from clock_timestamp() - r.started_at) * 1000))), '[]')
          from (select r.started_at from runs r where r.status = 'running' and r.queue_class = of_class limit 256) r),
      'served', coalesce(recent[1:256], mine.served),
      'waiting', (
        select coalesce(json_agg(c order by c.place), '[]') from concerned c join runs r on r.id = c.run_id where r.status = 'queued')
    ) into answer;
    update queues q set
        -- As many as were asked for: there are more to be told, at once.
        looked_at = case when json_array_length(answer->'waiting') >= max_runs then q.looked_at
          else clock_timestamp() + 4 * (clock_timestamp() - began) end,
        looked_deep_at = case when is_deep then began else q.looked_deep_at end,
        served = coalesce(recent[1:256], q.served)
      where q.queue_class = of_class;
    return answer;
  end $$;
`;

const tellQueue = `
  -- Puts on record what runs that wait are told, and in the log what is marked so. Under the head's lock a run that is
  -- queued stays so: nothing is logged of one that has begun or ended, and nothing twice, whoever else looked meanwhile.
  -- It waits for no lock: what somebody holds is just moving, or left for the next time. Answers what was told.
  create function tell_queue(of_runs uuid[], of_hand_overs int[], positions int[], delays_ms int[], are_logged boolean[], last_logged int[])
  returns table (run_id uuid, conversation_id uuid, tenant_id uuid, correlation_id text, seq bigint, at timestamptz)
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  #variable_conflict use_column
  declare
    heads uuid[];
    free int[];
    slots record;
    n int;
    appended json;
  begin
    -- The heads first, in order, as every writer of many does.
    select array_agg(h.conversation_id) into heads from (
      select h.conversation_id from conversation_heads h
        where h.conversation_id in (
          select r.conversation_id from unnest(of_runs, are_logged) as t (run_id, is_logged) join runs r on r.id = t.run_id where t.is_logged)
        order by h.conversation_id for no key update skip locked
    ) h;
    -- A new statement, so that it sees what was committed before the locks were had.
    select array_agg(l.ordinality) into free from (
      select t.ordinality::int from unnest(of_runs, of_hand_overs, are_logged, last_logged)
          with ordinality as t (run_id, hand_over, is_logged, last_logged, ordinality)
        join runs r on r.id = t.run_id and r.status = 'queued' and (not t.is_logged or r.conversation_id = any (heads))
        join jobs j on j.run_id = t.run_id and j.hand_over = t.hand_over and j.state in ('pending', 'dispatched')
          and (not t.is_logged or j.logged_position is not distinct from t.last_logged)
        for no key update of j skip locked
    ) l;

    select array_agg(t.ordinality::int) as told, array_agg(r.conversation_id) as conversations, array_agg(r.tenant_id) as tenants,
        array_agg(r.id) as runs, array_agg(r.correlation_id) as correlations,
        array_agg(json_build_object('type', 'CUSTOM', 'name', 'run.queued',
          'value', json_build_object('position', t.position, 'expectedDelayMs', t.delay_ms))::text) as bodies
      into slots
      from unnest(of_runs, positions, delays_ms, are_logged) with ordinality as t (run_id, position, delay_ms, is_logged, ordinality)
      join runs r on r.id = t.run_id
      where t.is_logged and t.ordinality = any (free);
    n := cardinality(slots.told);
    if n > 0 then
      select json_agg(json_build_object('ordinality', slots.told[a.slot], 'seq', a.base + 1, 'at', a.at)) into appended from append_events(
        slots.conversations, slots.tenants, array_fill(null::uuid, array[n]), array_fill(null::int, array[n]),
        array_fill(null::bigint, array[n]), array_fill(1, array[n]),
        (select array_agg(i) from generate_series(1, n) i), slots.runs, array_fill('all'::text, array[n]), slots.correlations, slots.bodies) a
        where a.outcome = 'ok';
    end if;
    return query
    with logged as (
      select l.ordinality, l.seq, l.at from json_to_recordset(coalesce(appended, '[]')) as l (ordinality int, seq bigint, at timestamptz)
    )
    update jobs j set told_at = clock_timestamp(), told_position = t.position, told_delay_ms = t.delay_ms,
        logged_position = case when t.is_logged then t.position else j.logged_position end,
        logged_delay_ms = case when t.is_logged then t.delay_ms else j.logged_delay_ms end
      from unnest(of_runs, of_hand_overs, positions, delays_ms, are_logged)
          with ordinality as t (run_id, hand_over, position, delay_ms, is_logged, ordinality)
        join runs r on r.id = t.run_id
        left join logged l on l.ordinality = t.ordinality
      where j.run_id = t.run_id and j.hand_over = t.hand_over and t.ordinality = any (free) and (l.seq is not null or not t.is_logged)
      returning j.run_id, r.conversation_id, r.tenant_id, r.correlation_id, l.seq, l.at::timestamptz;
  end $$;
`;
