import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/** Doorbells that the broker did not take, or may have lost, go back among the pending. */
export class UnrungDoorbellsMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(functions(await rolesOf(this)));
  }
}

function functions({ app, system }: Roles): string {
  return `
    create function put_back_job(of_run uuid, of_hand_over int) returns void language sql security definer
      set search_path = pg_catalog, public, pg_temp as $$
      update jobs j set state = 'pending', dispatched_at = null
        where j.run_id = of_run and j.hand_over = of_hand_over and j.state = 'dispatched'
    $$;

    -- What the broker was given and nobody answered: not much, since it is given no more than there are places. It waits
    -- for nobody: whoever holds a row is just taking it.
    create function put_back_jobs() returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      n int;
    begin
      -- Every worker loses the broker at the same moment; one acts for all.
      if not pg_try_advisory_xact_lock(hashtext('agent-engine:put-back')) then return 0; end if;
      with lost as (
        select j.run_id, j.hand_over from jobs j
          where j.state = 'dispatched' and j.worker_id is null and j.queue_class in ('priority', 'standard')
          limit 4096 for update skip locked
      )
      update jobs j set state = 'pending', dispatched_at = null from lost l
        where j.run_id = l.run_id and j.hand_over = l.hand_over;
      get diagnostics n = row_count;
      return n;
    end $$;

    ${["put_back_job", "put_back_jobs"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
