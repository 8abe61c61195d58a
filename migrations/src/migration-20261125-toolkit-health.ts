import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable } from "./roles.ts";

/** What tells how well toolkits are: failed attempts, circuits that are open, and tools that have changed meanwhile. */
export class ToolkitHealthMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(`
      -- Attempts that failed at the other side: [{attempt, at, ms, code, detail, requestId, retryAfterMs}]. Null: none did.
      alter table tool_invocations add column tried jsonb check (jsonb_typeof(tried) = 'array');
      create index tool_invocations_made on tool_invocations (tenant_id, toolkit, started_at) where started_at is not null;
      create index tool_invocations_failed on tool_invocations (tenant_id, toolkit, started_at) where tried is not null;
      create index connections_by_status on connections (toolkit_id, status) where deleted_at is null;

      -- When the other side said that its tools are others than those that were found; null once it was asked again.
      alter table toolkits add column tools_changed_at timestamptz(3);

      -- What each worker's circuits of tool hosts are, where they are open. A row changes when its circuit does, and goes
      -- with its worker. Codes and times only: nothing that anybody said.
      create table tool_circuits (
        tenant_id uuid not null references tenants on delete cascade,
        toolkit text not null,
        host text not null,
        worker_id uuid not null references workers on delete cascade,
        since timestamptz(3) not null,
        retry_at timestamptz(3) not null,
        -- In a row.
        failures int not null,
        code text not null,
        primary key (tenant_id, toolkit, host, worker_id)
      );
      create index on tool_circuits (worker_id);
      ${tenantTable("tool_circuits", roles, "select, insert, update, delete")}
    `);
  }
}
