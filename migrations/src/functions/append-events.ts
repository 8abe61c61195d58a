import type { Roles } from "../roles.ts";

/**
 * The append. Nobody may write `events` but these functions, so the log is append-only by privilege.
 *
 * With a fence (run, epoch, position) events are taken only while that run's lease is current and its position is what
 * the writer believes: a zombie's or a repeated append adds nothing.
 *
 * `append_events` is for workers: one statement for many conversations. A slot is one conversation's events,
 * contiguous. Heads are locked in id order, so overlapping batches cannot deadlock, and locked heads are skipped, to be
 * tried again with the next flush. It answers a row a slot: `ok` with the seq before its first event, `fenced` (also
 * when the conversation is gone), or `locked`.
 *
 * `append_to_conversation` is for transactions that append to one conversation, and waits for its lock: `ok` or `fenced`.
 */
export function appendFunctions({ app, system }: Roles): string {
  return [
    ["append_events", appendEvents],
    ["append_to_conversation", appendToConversation],
  ]
    .map(
      ([name, sql]) => `
        ${sql}
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};
      `,
    )
    .join("\n");
}

const appendToConversation = `
  create function append_to_conversation(
    to_conversation uuid, in_tenant uuid, fence_run uuid, fence_epoch int, fence_position bigint,
    event_runs uuid[], event_audiences text[], event_correlations text[], event_bodies text[]
  ) returns table (outcome text, base bigint, at timestamptz)
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  #variable_conflict use_column
  declare
    n int := cardinality(event_bodies);
    tenant uuid := current_tenant();
    first_base bigint;
  begin
    update conversation_heads h
      set last_seq = h.last_seq + n, run_pos = h.run_pos + case when fence_run is null then 0 else n end
      where h.conversation_id = to_conversation and h.tenant_id = in_tenant and (tenant is null or h.tenant_id = tenant)
        and (fence_run is null or (h.run_id = fence_run and h.epoch = fence_epoch and h.run_pos = fence_position))
      returning h.last_seq - n into first_base;
    if not found then
      return query select 'fenced'::text, null::bigint, null::timestamptz;
      return;
    end if;
    insert into events (conversation_id, seq, tenant_id, run_id, epoch, audience, correlation_id, at, event)
      select to_conversation, first_base + e.ordinality, in_tenant, e.run_id, fence_epoch, e.audience, e.correlation_id,
        statement_timestamp(), e.body::json
      from unnest(event_runs, event_audiences, event_correlations, event_bodies)
        with ordinality as e (run_id, audience, correlation_id, body);
    return query select 'ok'::text, first_base, statement_timestamp()::timestamptz(3);
  end $$;
`;

const appendEvents = `
    create function append_events(
      slot_conversations uuid[], slot_tenants uuid[], slot_runs uuid[], slot_epochs int[], slot_positions bigint[], slot_counts int[],
      event_slots int[], event_runs uuid[], event_audiences text[], event_correlations text[], event_bodies text[]
    ) returns table (slot int, outcome text, base bigint, at timestamptz)
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    begin
      return query
      with wanted as (
        select s.ordinality::int as slot, s.conversation_id, s.tenant_id, s.run_id, s.epoch, s.run_pos, s.n
        from unnest(slot_conversations, slot_tenants, slot_runs, slot_epochs, slot_positions, slot_counts)
          with ordinality as s (conversation_id, tenant_id, run_id, epoch, run_pos, n)
      ), locked as materialized (
        select h.conversation_id from conversation_heads h
        where h.conversation_id = any (slot_conversations)
        order by h.conversation_id
        for no key update skip locked
      ), moved as (
        update conversation_heads h
        set last_seq = h.last_seq + w.n,
            run_pos = h.run_pos + case when w.run_id is null then 0 else w.n end
        from wanted w join locked l on l.conversation_id = w.conversation_id
        where h.conversation_id = w.conversation_id
          and h.tenant_id = w.tenant_id
          and (current_tenant() is null or h.tenant_id = current_tenant())
          and (w.run_id is null or (h.run_id = w.run_id and h.epoch = w.epoch and h.run_pos = w.run_pos))
        returning w.slot, h.conversation_id, h.tenant_id, h.last_seq - w.n as base, w.epoch
      ), stored as (
        insert into events (conversation_id, seq, tenant_id, run_id, epoch, audience, correlation_id, at, event)
        select m.conversation_id,
               m.base + row_number() over (partition by e.slot order by e.ordinality),
               m.tenant_id, e.run_id, m.epoch, e.audience, e.correlation_id, statement_timestamp(), e.body::json
        from unnest(event_slots, event_runs, event_audiences, event_correlations, event_bodies)
          with ordinality as e (slot, run_id, audience, correlation_id, body)
        join moved m on m.slot = e.slot
      )
      select w.slot,
             case when m.slot is not null then 'ok'
                  when l.conversation_id is not null then 'fenced'
                  when exists (select from conversation_heads h where h.conversation_id = w.conversation_id) then 'locked'
                  else 'fenced' end,
             m.base, statement_timestamp()::timestamptz(3)
      from wanted w
      left join locked l on l.conversation_id = w.conversation_id
      left join moved m on m.slot = w.slot;
    end $$;
`;
