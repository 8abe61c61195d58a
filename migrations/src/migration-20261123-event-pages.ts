import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/** A page of the log that is bounded in bytes too: events can be large, and what is read for a reader stands in memory. */
export class EventPagesMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(functions(await rolesOf(this)));
  }
}

function functions({ app }: Roles): string {
  return `
    -- As read_events; the event that reaches max_bytes is the last one, and is_cut says so. No more is read than is answered.
    create function read_event_page(reading_tenant uuid, of_conversation uuid, after_seq bigint, up_to bigint, of_run uuid,
      max_rows int, max_bytes int)
    returns table (seq bigint, run_id uuid, audience text, correlation_id text, at timestamptz, event json, is_cut boolean)
    language plpgsql as $$
    #variable_conflict use_column
    declare
      found_events refcursor;
      bytes bigint := 0;
    begin
      perform set_config('app.tenant_id', reading_tenant::text, true);
      if of_run is null then
        open found_events for select e.seq, e.run_id, e.audience, e.correlation_id, e.at::timestamptz, e.event from events e
          where e.conversation_id = of_conversation and e.seq > after_seq and e.seq <= up_to
          order by e.seq limit max_rows;
      else
        open found_events for select e.seq, e.run_id, e.audience, e.correlation_id, e.at::timestamptz, e.event from events e
          where e.conversation_id = of_conversation and e.run_id = of_run and e.seq > after_seq and e.seq <= up_to
          order by e.seq limit max_rows;
      end if;
      loop
        fetch found_events into seq, run_id, audience, correlation_id, at, event;
        exit when not found;
        bytes := bytes + octet_length(event::text);
        is_cut := bytes >= max_bytes;
        return next;
        exit when is_cut;
      end loop;
      close found_events;
    end $$;
    revoke execute on function read_event_page from public;
    grant execute on function read_event_page to ${app};
  `;
}
