import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/**
 * Erasing a visitor, and retention.
 *
 * The log stays append-only but for two functions. `erase_conversation` replaces the events of a conversation whose
 * visitor's erasure the audit log names; every `seq` stays. `purge_deleted_log` removes the log of a conversation that
 * is gone. Both work in portions.
 */
export class ErasureMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(eraseConversation);
    await this.execute(deletedLogs(roles));
    await this.execute(retention);
    await this.execute(grants(roles));
  }
}

function tables(roles: Roles): string {
  return `
    create index visitors_being_erased on visitors (id) where erased_at is not null and erasure_finished_at is null;

    -- Whose conversations were a visitor's that is being erased: of the conversation itself only its row says so no more.
    -- Forks are here too, though they are gone.
    create table erased_conversations (
      conversation_id uuid primary key,
      tenant_id uuid not null references tenants on delete cascade,
      visitor_id uuid not null references visitors on delete cascade,
      hidden_up_to bigint not null default 0,
      erased_at timestamptz(3)
    );
    create index on erased_conversations (tenant_id);
    create index on erased_conversations (visitor_id);

    -- Logs without a conversation, until they are gone too. A long one is not deleted in one statement.
    create table deleted_logs (
      conversation_id uuid primary key,
      tenant_id uuid not null,
      deleted_at timestamptz(3) not null default now()
    );
    create index on deleted_logs (deleted_at);

    alter table tenants
      -- Conversations without an event for so long are deleted; null: never.
      add column retention_days int check (retention_days between 1 and 3650),
      -- Up to which conversation the sweep under way has looked, and when somebody last looked.
      add column retention_cursor uuid,
      add column retention_swept_at timestamptz(3);
    create index tenants_with_retention on tenants (retention_swept_at) where retention_days is not null;
    ${tenantTable("erased_conversations", roles, "select, insert, update (erased_at)")}
    ${tenantTable("deleted_logs", roles, "select")}
  `;
}

const eraseConversation = `
  -- One portion: what is derived from the log goes, the log's events become hidden. Answers whether more is left. The
  -- caller has ended the conversation's runs, so that nobody writes for them any more.
  create function erase_conversation(of_conversation uuid, portion int) returns boolean
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  declare
    head conversation_heads%rowtype;
    erasure erased_conversations%rowtype;
    up_to bigint;
    is_more boolean := false;
    n int;
  begin
    select h.* into head from conversation_heads h
      where h.conversation_id = of_conversation and h.tenant_id = current_tenant() for no key update;
    if not found then return false; end if;
    select e.* into erasure from erased_conversations e
      where e.conversation_id = of_conversation and e.tenant_id = head.tenant_id for update;
    if not found or not exists (
        select 1 from audit_log l where l.tenant_id = head.tenant_id and l.action = 'visitor.erased'
          and l.target = 'visitor_' || replace(erasure.visitor_id::text, '-', '')) then
      raise exception 'erase_conversation: no erasure on record asks for it';
    end if;
    if erasure.erased_at is not null then return false; end if;
    if exists (select 1 from runs r where r.conversation_id = of_conversation and r.status in ('queued', 'running', 'waiting')) then
      raise exception 'erase_conversation: a run has not ended';
    end if;

    delete from messages m using (
        select o.id from messages o where o.conversation_id = of_conversation limit portion) old where m.id = old.id;
    get diagnostics n = row_count;
    is_more := is_more or n = portion;
    -- Their tool invocations go with them.
    delete from steps s using (
        select o.run_id, o.step_index from runs r join steps o on o.run_id = r.id
          where r.conversation_id = of_conversation limit portion) old
      where s.run_id = old.run_id and s.step_index = old.step_index;
    get diagnostics n = row_count;
    is_more := is_more or n = portion;
    delete from jobs j using (
        select o.run_id, o.hand_over from runs r join jobs o on o.run_id = r.id
          where r.conversation_id = of_conversation limit portion) old
      where j.run_id = old.run_id and j.hand_over = old.hand_over;
    get diagnostics n = row_count;
    is_more := is_more or n = portion;
    -- That there was a run, how it ended and what it used stays.
    update runs r set interrupts = '[]', resume = null, fork = null, last_crash = null, correlation_id = 'erased',
        error = case when r.error is not null
          then '{"code": "erased", "message": "This conversation was erased."}'::jsonb end
      from (select o.id from runs o where o.conversation_id = of_conversation and o.correlation_id <> 'erased' limit portion) old
      where r.id = old.id;
    get diagnostics n = row_count;
    is_more := is_more or n = portion;
    up_to := least(erasure.hidden_up_to + portion, head.last_seq);
    update events e set event = '{"type":"CUSTOM","name":"hidden","value":{}}', correlation_id = 'erased'
      where e.conversation_id = of_conversation and e.seq > erasure.hidden_up_to and e.seq <= up_to;
    is_more := is_more or up_to < head.last_seq;

    update erased_conversations e set hidden_up_to = up_to, erased_at = case when not is_more then now() end
      where e.conversation_id = of_conversation;
    return is_more;
  end $$;

  create function erasures_under_way(max_rows int) returns table (tenant_id uuid, visitor_id uuid)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
    select v.tenant_id, v.id from visitors v where v.erased_at is not null and v.erasure_finished_at is null
    order by v.id limit max_rows
  $$;
`;

function deletedLogs({ system }: Roles): string {
  return `
    create function note_deleted_log() returns trigger
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    begin
      insert into deleted_logs (conversation_id, tenant_id) values (old.id, old.tenant_id) on conflict do nothing;
      return null;
    end $$;
    create trigger note_deleted_log after delete on conversations for each row execute function note_deleted_log();
    alter function note_deleted_log() owner to ${system};
    revoke execute on function note_deleted_log() from public;

    create function deleted_logs_left(max_rows int) returns table (conversation_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select d.conversation_id from deleted_logs d order by d.deleted_at limit max_rows
    $$;

    -- One portion of the log of a conversation that is gone. Answers whether more is left.
    create function purge_deleted_log(of_conversation uuid, portion int) returns boolean
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    declare
      n int;
    begin
      perform 1 from deleted_logs d where d.conversation_id = of_conversation for update;
      if not found then return false; end if;
      if exists (select 1 from conversations c where c.id = of_conversation) then
        raise exception 'purge_deleted_log: the conversation is there';
      end if;
      delete from events e where e.conversation_id = of_conversation and e.seq = any (array(
        select o.seq from events o where o.conversation_id = of_conversation order by o.seq limit portion));
      get diagnostics n = row_count;
      if n = portion then return true; end if;
      delete from deleted_logs d where d.conversation_id = of_conversation;
      return false;
    end $$;
  `;
}

const retention = `
  -- The next conversations that are old enough, of tenants in turn. Each look goes on where the one before ended, so that
  -- old conversations which are still in use are not looked at again and again.
  create function conversations_past_retention(max_tenants int, max_rows int)
  returns table (tenant_id uuid, conversation_id uuid, idle_since timestamptz)
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
  #variable_conflict use_column
  declare
    tenant tenants%rowtype;
    since timestamptz;
    looked uuid[];
  begin
    for tenant in
      select t.* from tenants t where t.retention_days is not null order by t.retention_swept_at nulls first limit max_tenants
        for no key update skip locked
    loop
      since := now() - tenant.retention_days * interval '1 day';
      -- A conversation's id begins with the time it was made, which is no later than its last event.
      looked := array(
        select c.id from conversations c
        where c.tenant_id = tenant.id and c.id > coalesce(tenant.retention_cursor, '00000000-0000-0000-0000-000000000000')
          and c.id < rpad(lpad(to_hex((extract(epoch from since) * 1000)::bigint), 12, '0'), 32, '0')::uuid
        order by c.id limit max_rows);
      return query
        select tenant.id, c.id, since from unnest(looked) l (id)
          join conversations c on c.id = l.id
          join conversation_heads h on h.conversation_id = c.id
        where coalesce((select e.at from events e where e.conversation_id = c.id and e.seq = h.last_seq), c.created_at) < since
        order by c.id;
      update tenants t set retention_swept_at = clock_timestamp(),
          retention_cursor = case when cardinality(looked) = max_rows then looked[max_rows] end
        where t.id = tenant.id;
    end loop;
  end $$;

  -- Deletes a conversation and its forks when none of them is in use. Runs as the caller, under row level security. A head
  -- that somebody holds is in use.
  create function delete_idle_conversation(of_conversation uuid, idle_since timestamptz) returns boolean
  language plpgsql as $$
  declare
    family uuid[];
    held int;
  begin
    with recursive member (id) as (
      select c.id from conversations c where c.id = of_conversation
      union all
      select f.id from member m join conversations f on f.forked_from = m.id
    ) select array_agg(m.id) into family from member m;
    if family is null then return false; end if;
    with locked as (
      select h.conversation_id from conversation_heads h where h.conversation_id = any (family)
        order by h.conversation_id for update skip locked
    ) select count(*) into held from locked;
    if held < cardinality(family)
      or exists (select 1 from runs r where r.conversation_id = any (family) and r.status in ('queued', 'running', 'waiting'))
      or exists (select 1 from conversation_heads h join events e on e.conversation_id = h.conversation_id and e.seq = h.last_seq
          where h.conversation_id = of_conversation and e.at >= idle_since) then
      return false;
    end if;
    delete from conversations c where c.id = any (family);
    return true;
  end $$;
`;

function grants({ app, system }: Roles): string {
  const ofSystem = [
    "erase_conversation(uuid, int)",
    "erasures_under_way(int)",
    "deleted_logs_left(int)",
    "purge_deleted_log(uuid, int)",
    "conversations_past_retention(int, int)",
  ];
  return `
    grant select on erased_conversations to ${system};
    grant update (hidden_up_to, erased_at) on erased_conversations to ${system};
    grant select, insert, update, delete on deleted_logs to ${system};
    grant update (event, correlation_id), delete on events to ${system};
    grant delete on messages, steps, tool_invocations to ${system};
    grant update (retention_cursor, retention_swept_at) on tenants to ${system};
    ${ofSystem
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
    revoke execute on function delete_idle_conversation(uuid, timestamptz) from public;
    grant execute on function delete_idle_conversation(uuid, timestamptz) to ${app};
  `;
}
