import { Migration } from "@mikro-orm/migrations";

/** Queue classes with places of their own, fair order among tenants, caps, and what visitors are told while they wait. */
export class FairQueuesMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(tables);
  }
}

const tables = `
  -- Dead: nobody will ring this doorbell again; the reason says why.
  alter table jobs drop constraint jobs_state_check,
    add constraint jobs_state_check check (state in ('blocked', 'pending', 'dispatched', 'done', 'dead')),
    add column reason text;
`;
