import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/** What a member's sockets are asked for while they are open: whether the session that opened them goes on. */
export class RealtimeTokensMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(functions(await rolesOf(this)));
  }
}

function functions({ app, system }: Roles): string {
  return `
    -- As before, and which session it is: what speaks for it beyond its cookie names it by its id, never by its token.
    drop function resolve_session(text);
    create function resolve_session(session_token text)
    returns table (user_id text, email text, name text, expires_at timestamptz, tenant_id uuid, tenant_name text,
      member_id uuid, role text, session_id text)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select u.id, u.email, u.name, s."expiresAt", m.tenant_id, t.name, m.id, m.role, s.id
      from auth.session s
      join auth."user" u on u.id = s."userId" and u."emailVerified"
      left join members m on m.user_id = u.id
      left join tenants t on t.id = m.tenant_id
      where s.token = session_token and s."expiresAt" > now()
      order by m.id
    $$;
    create function member_of_session(of_session text, of_member uuid)
    returns table (tenant_id uuid, user_id text, role text, expires_at timestamptz)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select m.tenant_id, m.user_id, m.role, s."expiresAt"
      from auth.session s
      join auth."user" u on u.id = s."userId" and u."emailVerified"
      join members m on m.user_id = u.id and m.id = of_member
      where s.id = of_session and s."expiresAt" > now()
    $$;
    ${["resolve_session(text)", "member_of_session(text, uuid)"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
