import type { Roles } from "../roles.ts";

/**
 * The two transactions that every message passes, each with its statements in one place: a round trip costs more than
 * the work in it. They run as the caller, under row level security; what they decide is decided by the caller.
 */
export function runFunctions({ app }: Roles): string {
  const functions = `
    -- Locks a conversation's head (always the first lock), then reads what a new message needs to know.
    create function lock_conversation(of_conversation uuid, of_visitor uuid, with_client_message text)
    returns table (
      agent_id uuid, mode text, version int, double_send text, queue_class text,
      last_seq bigint, epoch int, open_runs json, known_message json, known_run json
    )
    language plpgsql as $$
    #variable_conflict use_column
    declare
      head conversation_heads%rowtype;
      conversation conversations%rowtype;
      agent agents%rowtype;
      config jsonb;
      message messages%rowtype;
      run runs%rowtype;
      open_runs json;
    begin
      -- Simple statements, each by a key: joined, Postgres may take the tenant's whole table for one row.
      select h.* into head from conversation_heads h where h.conversation_id = of_conversation for no key update;
      if not found then return; end if;
      select c.* into conversation from conversations c
        where c.id = of_conversation and (of_visitor is null or c.visitor_id = of_visitor);
      if not found then return; end if;
      select a.* into agent from agents a where a.id = conversation.agent_id;
      select v.config into config from agent_versions v where v.agent_id = agent.id and v.version = agent.published_version;
      select json_agg(json_build_object('id', r.id, 'status', r.status, 'interrupts', r.interrupts)) into open_runs
        from runs r where r.conversation_id = of_conversation and r.status in ('queued', 'running', 'waiting');
      if with_client_message is not null then
        select m.* into message from messages m
          where m.conversation_id = of_conversation and m.client_message_id = with_client_message;
        if found then select r.* into run from runs r where r.id = message.run_id; end if;
      end if;
      return query select agent.id, conversation.mode, agent.published_version, config->>'doubleSend', config->>'queueClass',
        head.last_seq, head.epoch, open_runs,
        case when message.id is not null then to_json(message) end, case when run.id is not null then to_json(run) end;
    end $$;

    -- A message, its run, the log's events and the doorbell's record.
    create function store_submission(
      in_tenant uuid, in_conversation uuid, new_message uuid, with_client_message text, message_text text,
      new_run uuid, of_agent uuid, of_version int, of_class text, of_correlation text, first_seq bigint,
      is_blocked boolean, event_bodies text[]
    ) returns table (message json, run json, queue_class text, state text, base bigint, at timestamptz)
    language plpgsql as $$
    #variable_conflict use_column
    declare
      stored_message messages%rowtype;
      stored_run runs%rowtype;
      appended record;
      n int := cardinality(event_bodies);
    begin
      insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id, first_seq)
        values (new_run, in_tenant, in_conversation, of_agent, of_version, of_class, of_correlation, first_seq)
        returning * into stored_run;
      insert into messages (id, tenant_id, conversation_id, run_id, client_message_id, role, text)
        values (new_message, in_tenant, in_conversation, new_run, with_client_message, 'user', message_text)
        returning * into stored_message;
      select a.* into appended from append_to_conversation(in_conversation, in_tenant, null, null, null,
        array_fill(new_run, array[n]), array_fill('all'::text, array[n]), array_fill(of_correlation, array[n]), event_bodies) a;
      if appended.outcome is distinct from 'ok' then raise exception 'the conversation has no head'; end if;
      return query select to_json(stored_message), to_json(stored_run), of_class,
        enqueue_run(new_run, 1, in_tenant, of_class, of_correlation, is_blocked), appended.base, appended.at;
    end $$;

    -- The usual case in one round trip: a new message in a conversation where nothing is under way. Answers no row, and
    -- has done nothing, in every other case: those are for the caller to decide, under the lock.
    create function store_submission_if_idle(
      in_tenant uuid, in_conversation uuid, of_visitor uuid, new_message uuid, with_client_message text, message_text text,
      new_run uuid, of_class text, of_correlation text, event_bodies text[]
    ) returns table (message json, run json, queue_class text, state text, base bigint, at timestamptz)
    language plpgsql as $$
    #variable_conflict use_column
    declare
      found_here record;
    begin
      perform set_config('app.tenant_id', in_tenant::text, true);
      select l.* into found_here from lock_conversation(in_conversation, of_visitor, with_client_message) l;
      if not found or found_here.version is null or found_here.open_runs is not null or found_here.known_message is not null then
        return;
      end if;
      return query select s.* from store_submission(
        in_tenant, in_conversation, new_message, with_client_message, message_text, new_run, found_here.agent_id,
        found_here.version, coalesce(of_class, found_here.queue_class, 'priority'), of_correlation,
        found_here.last_seq + 1, false, event_bodies) s;
    end $$;

    -- The end of a run: its last events, its row, its last step, its messages, the conversation's freedom. Answers no
    -- row when the fence does not hold; then nothing of it happened.
    create function end_run(
      in_tenant uuid, of_conversation uuid, of_run uuid, fence_epoch int, fence_position bigint,
      event_audiences text[], event_correlations text[], event_bodies text[],
      new_status text, new_finish_reason text, new_error jsonb, new_usage jsonb,
      step_index int, step_key text, step_message uuid, step_text text, step_usage jsonb,
      message_ids uuid[], message_texts text[]
    ) returns table (base bigint, at timestamptz, next_run uuid, next_hand_over int, next_class text, next_correlation text)
    language plpgsql as $$
    #variable_conflict use_column
    declare
      appended record;
      unblocked record;
      n int := cardinality(event_bodies);
    begin
      perform set_config('app.tenant_id', in_tenant::text, true);
      select a.* into appended from append_to_conversation(of_conversation, in_tenant,
        case when fence_epoch is not null then of_run end, fence_epoch, fence_position,
        array_fill(of_run, array[n]), event_audiences, event_correlations, event_bodies) a;
      if appended.outcome is distinct from 'ok' then return; end if;

      update runs r set status = new_status, finish_reason = new_finish_reason, error = new_error, usage = new_usage,
          last_seq = appended.base + n, finished_at = now(), interrupts = '[]', resume = null
        where r.id = of_run and r.status in ('running', 'waiting');
      if not found then raise exception 'run % is not active', of_run; end if;
      update conversation_heads h set run_id = null, epoch = h.epoch + 1
        where h.conversation_id = of_conversation and h.run_id = of_run;
      update steps s set status = 'finished', finished_at = now() where s.run_id = of_run and s.status = 'tools';
      if step_index is not null then
        insert into steps (run_id, step_index, tenant_id, key, status, message_id, text, usage, finished_at)
          values (of_run, step_index, in_tenant, step_key, 'finished', step_message, step_text, step_usage, now())
          on conflict (run_id, step_index) do nothing;
      end if;
      insert into messages (id, tenant_id, conversation_id, run_id, role, text)
        select t.id, in_tenant, of_conversation, of_run, 'assistant', t.text
        from unnest(message_ids, message_texts) as t (id, text)
        on conflict (id) do nothing;
      select u.* into unblocked from unblock_next(of_conversation) u where u.state = 'dispatched';
      return query select appended.base, appended.at, unblocked.run_id, unblocked.hand_over, unblocked.queue_class, unblocked.correlation_id;
    end $$;
  `;
  return `
    ${functions}
    ${["lock_conversation", "store_submission", "store_submission_if_idle", "end_run"]
      .map((name) => `revoke execute on function ${name} from public; grant execute on function ${name} to ${app};`)
      .join("\n")}
  `;
}
