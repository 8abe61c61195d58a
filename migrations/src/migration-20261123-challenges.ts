import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** What a site asks of browsers before it lets a new anonymous visitor in. */
export class ChallengesMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(functions(roles));
  }
}

function tables(roles: Roles): string {
  return `
    -- Null: nothing.
    alter table sites add column challenge jsonb check (jsonb_typeof(challenge) = 'object');

    -- Solved ones, as long as they would be good: each lets one visitor in.
    create table used_challenges (
      token_hash bytea primary key,
      tenant_id uuid not null references tenants on delete cascade,
      expires_at timestamptz(3) not null
    );
    create index on used_challenges (tenant_id);
    create index on used_challenges (expires_at);
    ${tenantTable("used_challenges", roles, "select, insert")}
    grant select, delete on used_challenges to ${roles.system};
  `;
}

function functions({ app, system }: Roles): string {
  return `
    drop function resolve_publishable_key(text);
    create function resolve_publishable_key(key text)
    returns table (tenant_id uuid, site_id uuid, agent_id uuid, name text, allowed_origins text[], theme jsonb, challenge jsonb)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select s.tenant_id, s.id, s.agent_id, s.name, s.allowed_origins, s.theme, s.challenge from sites s
      where s.publishable_key = key and s.deleted_at is null
      union all
      select s.tenant_id, s.id, s.agent_id, s.name, s.allowed_origins, s.theme, s.challenge from sites s
      where s.previous_publishable_key = key and s.previous_key_until > now() and s.deleted_at is null
    $$;
    create function prune_challenges(max_rows int) returns int language plpgsql security definer
      set search_path = pg_catalog, public, pg_temp as $$
    declare
      pruned int;
    begin
      delete from used_challenges u using (
          select o.token_hash from used_challenges o where o.expires_at < now() order by o.expires_at limit max_rows for update skip locked
        ) old where u.token_hash = old.token_hash;
      get diagnostics pruned = row_count;
      return pruned;
    end $$;
    grant update on used_challenges to ${system};
    ${["resolve_publishable_key(text)", "prune_challenges(int)"]
      .map(
        (name) => `
          alter function ${name} owner to ${system};
          revoke execute on function ${name} from public;
          grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
