import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable } from "./roles.ts";

/** Requests that ask other services while they are answered: what keeps them single must not be an open transaction. */
export class IdempotencyClaimsMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(`
      -- A request with this key is being answered; past \`expires_at\` whoever answered it died.
      create table idempotency_claims (
        tenant_id uuid not null references tenants on delete cascade,
        principal text not null,
        key text not null,
        expires_at timestamptz(3) not null,
        primary key (tenant_id, principal, key)
      );
      ${tenantTable("idempotency_claims", roles, "select, insert, update, delete")}
    `);
  }
}
