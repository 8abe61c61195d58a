import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";
import { createAgent } from "../agents/create-agent.ts";
import { publishAgent } from "../agents/publish-agent.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { createDocument } from "../knowledge/create-document.ts";
import { createSite } from "../sites/create-site.ts";
import { createApiKey } from "../tenancy/create-api-key.ts";
import { createTenant } from "../tenancy/create-tenant.ts";
import { SHOP } from "./shop.ts";

/** What the demo's page, its docs and the tests need; the secret key is known only here. */
export interface Demo {
  tenantId: TenantId;
  agentId: AgentId;
  siteId: string;
  publishableKey: string;
  secretKey: string;
}

const anyTenant = statement<{ is_empty: boolean }>("database_is_empty", "select database_is_empty() as is_empty");

/** True before the first tenant exists: only then is anything seeded. */
export async function isDatabaseEmpty(services: Pick<Services, "db">): Promise<boolean> {
  const [row] = await services.db.query(anyTenant, []);
  return row?.is_empty === true;
}

/** Makes the demo shop: tenant, published agent, site for the demo page's origin, a secret key, a dozen documents. */
export async function seedDemo(services: Services, input: { demoOrigins: string[] }): Promise<Demo> {
  const tenant = await createTenant(services, { name: SHOP.tenantName });
  const ctx: Ctx = { services, tenantId: tenant.id, actor: { kind: "worker" }, correlationId: "seed" };
  const { instructions, greeting, suggestions } = SHOP;
  const config = agentConfig.parse({ instructions, greeting, suggestions: [...suggestions] });
  const agent = await createAgent(ctx, { name: SHOP.agentName, config });
  await publishAgent(ctx, agent.id);
  for (const document of SHOP.documents) await createDocument(ctx, document);
  const agentId = agent.id as AgentId;
  const site = await createSite(ctx, { name: SHOP.siteName, agentId, allowedOrigins: input.demoOrigins });
  const { key } = await createApiKey(ctx, { name: "Demo key", scopes: ["*"] });
  return { tenantId: tenant.id, agentId, siteId: site.id, publishableKey: site.publishableKey, secretKey: key };
}
