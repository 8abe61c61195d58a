import { Migration } from "@mikro-orm/migrations";

/**
 * Forks: runs that begin in a conversation of their own, as a copy of another one up to one of its events.
 *
 * A fork holds what its original holds, so the original may not go while it is there: whoever deletes a conversation
 * deletes its forks first, or is refused.
 */
export class ForksMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(`
      alter table conversations
        add column forked_from uuid references conversations,
        add column forked_from_run uuid,
        add column forked_from_seq bigint,
        add constraint fork_origin_is_whole check (
          num_nulls(forked_from, forked_from_run, forked_from_seq) in (0, 3)
          and (forked_from is null or visitor_id is null)
        );
      create index forks_of_conversation on conversations (forked_from) where forked_from is not null;

      -- Where it was forked from, and what differs in it from its agent's version.
      alter table runs add column fork jsonb;

      -- Idempotency key of the invocation whose result was reused: this one was never sent.
      alter table tool_invocations add column reused_from text;
    `);
  }
}
