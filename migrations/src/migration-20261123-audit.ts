import { Migration } from "@mikro-orm/migrations";
import { rolesOf, tenantTable, type Roles } from "./roles.ts";

/** The audit log: one chain of entries a tenant, to which a function adds and which nobody changes. */
export class AuditMigration extends Migration {
  override async up(): Promise<void> {
    const roles = await rolesOf(this);
    await this.execute(tables(roles));
    await this.execute(functions(roles));
  }
}

function tables(roles: Roles): string {
  return `
    create table audit_log (
      tenant_id uuid not null references tenants on delete cascade,
      seq bigint not null,
      -- json keeps the very text that was hashed; what is searched is taken from it and cannot say anything else.
      entry json not null,
      previous_hash bytea not null,
      hash bytea not null,
      -- ISO 8601 UTC with milliseconds: its order is that of time.
      at text collate "C" not null generated always as (entry ->> 'at') stored,
      action text collate "C" not null generated always as (entry ->> 'action') stored,
      actor text collate "C" generated always as (entry -> 'actor' ->> 'id') stored,
      target text collate "C" generated always as (entry -> 'target' ->> 'id') stored,
      primary key (tenant_id, seq)
    );
    create index on audit_log (tenant_id, action, seq);
    create index on audit_log (tenant_id, actor, seq);
    create index on audit_log (tenant_id, target, seq);

    -- Where each chain ends: locked by whoever adds to it, and proof that nothing was cut off.
    create table audit_heads (
      tenant_id uuid primary key references tenants on delete cascade,
      last_seq bigint not null,
      last_hash bytea not null
    );
    ${tenantTable("audit_log", roles, "select")}
    ${tenantTable("audit_heads", roles, "select")}
    grant select, insert on audit_log to ${roles.system};
    grant select, insert, update on audit_heads to ${roles.system};
  `;
}

function functions({ app, system }: Roles): string {
  return `
    -- hash = SHA-256(previous hash, "<tenant's uuid>:<seq>:<entry>" in UTF-8); the first follows 32 zero bytes.
    create function append_audit(of_tenant uuid, new_entry json) returns table (seq bigint, hash bytea)
    language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    declare
      head audit_heads%rowtype;
      next_seq bigint;
      next_hash bytea;
    begin
      if of_tenant is distinct from current_tenant() then
        raise exception 'append_audit: the tenant is not the session''s';
      end if;
      insert into audit_heads (tenant_id, last_seq, last_hash) values (of_tenant, 0, decode(repeat('00', 32), 'hex'))
        on conflict do nothing;
      select h.* into head from audit_heads h where h.tenant_id = of_tenant for update;
      next_seq := head.last_seq + 1;
      next_hash := sha256(head.last_hash || convert_to(of_tenant::text || ':' || next_seq || ':' || new_entry::text, 'UTF8'));
      insert into audit_log (tenant_id, seq, entry, previous_hash, hash)
        values (of_tenant, next_seq, new_entry, head.last_hash, next_hash);
      update audit_heads h set last_seq = next_seq, last_hash = next_hash where h.tenant_id = of_tenant;
      return query select next_seq, next_hash;
    end $$;

    -- For the command that checks every chain.
    create function audited_tenants(after uuid, page int) returns table (tenant_id uuid)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
      select t.id from tenants t
      where (after is null or t.id > after)
        and (exists (select 1 from audit_heads h where h.tenant_id = t.id)
          or exists (select 1 from audit_log l where l.tenant_id = t.id))
      order by t.id limit page
    $$;
    ${["append_audit(uuid, json)", "audited_tenants(uuid, int)"]
      .map(
        (name) => `
        alter function ${name} owner to ${system};
        revoke execute on function ${name} from public;
        grant execute on function ${name} to ${app};`,
      )
      .join("\n")}
  `;
}
