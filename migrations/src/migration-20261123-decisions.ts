import { Migration } from "@mikro-orm/migrations";

/** Whom a call was sent to, so that a person can still find out what became of it when its agent has changed. */
export class DecisionsMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute("alter table tool_invocations add column toolkit text, add column host text");
  }
}
