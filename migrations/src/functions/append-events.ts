import type { Roles } from "../roles.ts";

/**
 * The append: one statement for many conversations. Nobody may write `events` but these functions, so the log is
 * append-only by privilege.
 *
 * A slot is one conversation's events, contiguous. With a fence (run, epoch, position) it is taken only while that
 * run's lease is current and its position is what the writer believes: a zombie's or a repeated append adds nothing.
 * Heads are locked in id order, so overlapping batches cannot deadlock; `append_events` skips locked heads (workers
 * retry at their next flush), `append_events_wait` waits (the API).
 *
 * Answers a row a slot: `ok` with the seq before its first event, `fenced`, or `locked` (also when there is no head).
 */
export function appendFunctions({ app, system }: Roles): string {
  return [appendFunction("append_events", "skip locked"), appendFunction("append_events_wait", "")]
    .map(
      ({ name, sql }) => `
        ${sql}
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};
      `,
    )
    .join("\n");
}

function appendFunction(name: string, locking: string): { name: string; sql: string } {
  const sql = `
    create function ${name}(
      slot_conversations uuid[], slot_tenants uuid[], slot_runs uuid[], slot_epochs int[], slot_positions bigint[], slot_counts int[],
      event_slots int[], event_runs uuid[], event_audiences text[], event_correlations text[], event_bodies text[]
    ) returns table (slot int, outcome text, base bigint, at timestamptz)
    language plpgsql security definer set search_path = pg_catalog, public as $$
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
        for no key update ${locking}
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
             case when m.slot is not null then 'ok' when l.conversation_id is not null then 'fenced' else 'locked' end,
             m.base, statement_timestamp()::timestamptz(3)
      from wanted w
      left join locked l on l.conversation_id = w.conversation_id
      left join moved m on m.slot = w.slot;
    end $$;
  `;
  return { name, sql };
}
