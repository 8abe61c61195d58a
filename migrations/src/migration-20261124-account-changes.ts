import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/** What is kept of wrong passwords, and whose audit logs hear of a change of an account. */
export class AccountChangesMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    const [row] = await this.execute("select quote_ident(current_setting('engine.accounts_role')) as accounts");
    const { accounts } = row as unknown as { accounts: string };
    await this.execute(wrongPasswords(accounts));
    await this.execute(memberships(roles));
  }
}

/** As rate-limiter-flexible (11.4.0) would make it; the role of the accounts may make no tables. */
function wrongPasswords(accounts: string): string {
  return `
    create table auth."wrongPasswords" (
      "key" varchar(255) primary key,
      "points" integer not null default 0,
      -- Milliseconds since the epoch.
      "expire" bigint
    );
    grant select, insert, update, delete on auth."wrongPasswords" to ${accounts};
  `;
}

function memberships({ app, system }: Roles): string {
  return `
    create function memberships_of(of_user text) returns table (tenant_id uuid, member_id uuid, role text)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select m.tenant_id, m.id, m.role from members m where m.user_id = of_user order by m.id
    $$;
    alter function memberships_of(text) owner to ${system};
    revoke execute on function memberships_of(text) from public;
    grant execute on function memberships_of(text) to ${app};
  `;
}
