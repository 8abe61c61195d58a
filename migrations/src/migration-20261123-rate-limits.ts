import { Migration } from "@mikro-orm/migrations";

/** Limits of a tenant's own, by the names of docs/limits.md, in place of everybody's. */
export class RateLimitsMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(`
      alter table tenants add column rate_limits jsonb check (jsonb_typeof(rate_limits) = 'object');
    `);
  }
}
