import type { Migration } from "@mikro-orm/migrations";

export interface Roles {
  /** Login role of every serving process: neither owner nor superuser. A quoted identifier. */
  app: string;
  /** NOLOGIN role that owns the few functions which work across tenants. A quoted identifier. */
  system: string;
}

/** The roles of this database; `migrate()` creates them and names them in session settings before it migrates. */
export async function rolesOf(migration: Migration): Promise<Roles> {
  const [row] = await migration.execute(
    "select quote_ident(current_setting('engine.app_role')) as app, quote_ident(current_setting('engine.system_role')) as system",
  );
  return row as unknown as Roles;
}

/**
 * Row level security for a tenant's table: forced, and restrictive too, so that no later policy can widen it.
 * Without a tenant in the session the serving role sees nothing.
 */
export function tenantTable(table: string, { app, system }: Roles, privileges: string): string {
  return `
    alter table ${table} enable row level security;
    alter table ${table} force row level security;
    create policy tenant on ${table} to ${app} using (tenant_id = (select current_tenant())) with check (tenant_id = (select current_tenant()));
    create policy tenant_only on ${table} as restrictive to ${app} using (tenant_id = (select current_tenant())) with check (tenant_id = (select current_tenant()));
    create policy system on ${table} to ${system} using (true) with check (true);
    grant ${privileges} on ${table} to ${app};
  `;
}
