import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/** Visitors who came by, said nothing, and cannot come back as who they were: they are forgotten. */
export class ForgottenVisitorsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(`
      -- When a session of theirs was last opened or renewed, to the day.
      alter table visitors add column seen_at timestamptz(3) not null default now();
      create index visitors_unseen on visitors (seen_at)
        where external_id is null and merged_into is null and erased_at is null;
    `);
    await this.execute(functions(roles));
  }
}

function functions({ app, system }: Roles): string {
  return `
    create function prune_visitors(unseen_since timestamptz, max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      delete from visitors v using (
          select o.id from visitors o
          where o.seen_at < unseen_since and o.external_id is null and o.merged_into is null and o.erased_at is null
            and not exists (select 1 from conversations c where c.visitor_id = o.id)
            and not exists (select 1 from connections c where c.visitor_id = o.id)
            and not exists (select 1 from visitors m where m.merged_into = o.id)
          order by o.seen_at limit max_rows for update skip locked
        ) old where v.id = old.id;
      get diagnostics pruned = row_count;
      return pruned;
    end $$;
    grant select, update, delete on visitors to ${system};
    grant select on conversations, connections to ${system};
    alter function prune_visitors(timestamptz, int) owner to ${system};
    revoke execute on function prune_visitors(timestamptz, int) from public;
    grant execute on function prune_visitors(timestamptz, int) to ${app};
  `;
}
