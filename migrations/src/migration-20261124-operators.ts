import { Migration } from "@mikro-orm/migrations";

/** People who answer in an agent's place. */
export class OperatorsMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(`
      -- The name of whoever took the conversation over; null while nobody has, also when it was handed over already.
      alter table conversations add column operator text;
    `);
    await this.execute(storeSubmissionIfIdle);
  }
}

/** As before, and nothing is idle where a person answers. */
const storeSubmissionIfIdle = `
    create or replace function store_submission_if_idle(
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
      if not found or found_here.mode = 'operator' or found_here.version is null or found_here.open_runs is not null
        or found_here.known_message is not null then
        return;
      end if;
      return query select s.* from store_submission(
        in_tenant, in_conversation, new_message, with_client_message, message_text, new_run, found_here.agent_id,
        found_here.version, coalesce(of_class, found_here.queue_class, 'priority'), of_correlation,
        found_here.last_seq + 1, false, event_bodies) s;
    end $$;
`;
