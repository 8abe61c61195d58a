import { Migration } from "@mikro-orm/migrations";
import { rolesOf, type Roles } from "./roles.ts";

/** What a conversation's pages offer comes with the claim of its run: a round trip of its own would be every run's. */
export class PageToolsMigration extends Migration {
  override async up(): Promise<void> {
    await this.execute(functions(await rolesOf(this)));
  }
}

function functions({ app }: Roles): string {
  return `
    -- [{pageId, tools}], the newest page first; null where no page is open.
    create function offered_client_tools(reading_tenant uuid, of_conversation uuid, moment timestamptz) returns json
    language plpgsql as $$
    begin
      perform set_config('app.tenant_id', reading_tenant::text, true);
      return (
        select json_agg(json_build_object('pageId', t.page_id, 'tools', t.tools) order by t.created_at desc, t.page_id)
        from client_tools t where t.conversation_id = of_conversation and t.expires_at > moment
      );
    end $$;
    revoke execute on function offered_client_tools from public;
    grant execute on function offered_client_tools to ${app};
  `;
}
