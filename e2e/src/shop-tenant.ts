/** A tenant made as an operator makes one, whose site is on `SITE_ORIGIN`. */
import { startProcess } from "@agent-engine/testing/processes.ts";

/** The origin that the tenant's site allows. */
export const SITE_ORIGIN = "https://shop.example";

export interface TenantKeys {
  publishableKey: string;
  secretKey: string;
  agentId: string;
}

/** With the command, and the keys it prints once. */
export async function createShopTenant(env: Record<string, string>): Promise<TenantKeys> {
  const child = startProcess({
    name: "create-tenant",
    args: ["scripts/create-tenant.ts", "--name", "Shop", "--origin", SITE_ORIGIN],
    env,
  });
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`create-tenant failed:\n${child.logs()}`);
  return JSON.parse(child.logs()) as TenantKeys;
}
