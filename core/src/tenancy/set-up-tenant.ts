import type { AgentId, SiteId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import { createAgent } from "../agents/create-agent.ts";
import { publishAgent } from "../agents/publish-agent.ts";
import type { Ctx, Services } from "../context.ts";
import { createSite } from "../sites/create-site.ts";
import { createApiKey } from "./create-api-key.ts";
import { createTenant } from "./create-tenant.ts";

export interface SetUpTenant {
  name: string;
  agent: { name: string; config: AgentConfig };
  site: { name: string; allowedOrigins: string[] };
}

/** A tenant that can be used at once: its agent is published, its site has a key, and a secret key opens the API. */
export interface ReadyTenant {
  tenantId: TenantId;
  agentId: AgentId;
  siteId: SiteId;
  publishableKey: string;
  /** Known only from this answer: its hash is all that is kept. */
  secretKey: string;
}

export async function setUpTenant(services: Services, input: SetUpTenant): Promise<ReadyTenant> {
  const { id: tenantId } = await createTenant(services, { name: input.name });
  const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "set-up" };
  const agent = await createAgent(ctx, input.agent);
  await publishAgent(ctx, agent.id);
  const agentId = agent.id as AgentId;
  const site = await createSite(ctx, { ...input.site, agentId });
  const { key } = await createApiKey(ctx, { name: "First key", scopes: ["*"] });
  return { tenantId, agentId, siteId: site.id, publishableKey: site.publishableKey, secretKey: key };
}
