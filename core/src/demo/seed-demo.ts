import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { createDocument } from "../knowledge/create-document.ts";
import { setUpTenant, type ReadyTenant } from "../tenancy/set-up-tenant.ts";
import { SHOP } from "./shop.ts";

const anyTenant = statement<{ is_empty: boolean }>("database_is_empty", "select database_is_empty() as is_empty");

/** True before the first tenant exists: only then is anything seeded. */
export async function isDatabaseEmpty(services: Pick<Services, "db">): Promise<boolean> {
  const [row] = await services.db.query(anyTenant, []);
  return row?.is_empty === true;
}

/** Makes the demo shop: a tenant with its agent, a site for the demo page's origin, a dozen documents. */
export async function seedDemo(services: Services, input: { demoOrigins: string[] }): Promise<ReadyTenant> {
  const { instructions, greeting, suggestions } = SHOP;
  const tenant = await setUpTenant(services, {
    name: SHOP.tenantName,
    agent: {
      name: SHOP.agentName,
      config: agentConfig.parse({ instructions, greeting, suggestions: [...suggestions] }),
    },
    site: { name: SHOP.siteName, allowedOrigins: input.demoOrigins },
  });
  const ctx: Ctx = { services, tenantId: tenant.tenantId, actor: { kind: "worker" }, correlationId: "seed" };
  for (const document of SHOP.documents) await createDocument(ctx, document);
  return tenant;
}
