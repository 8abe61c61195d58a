import { Migration } from "@mikro-orm/migrations";
import { rolesOf } from "./roles.ts";

/** Events that Composio has told us, each of which is acted on once. They are the installation's, not a tenant's. */
export class WebhookReceiptsMigration extends Migration {
  override async up(): Promise<void> {
    const { app } = await rolesOf(this);
    await this.execute(`
      create table webhook_receipts (
        id text primary key,
        type text not null,
        received_at timestamptz(3) not null default now()
      );
      create index on webhook_receipts (received_at);
      grant select, insert, delete on webhook_receipts to ${app};
    `);
  }
}
