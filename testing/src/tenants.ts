/** Services on a database of their own, and tenants in them, for integration tests. */
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Actor, Ctx, Services } from "@agent-engine/core/context.ts";
import { createAgent } from "@agent-engine/core/agents/create-agent.ts";
import { publishAgent } from "@agent-engine/core/agents/publish-agent.ts";
import { openServices, type OpenServices } from "@agent-engine/core/services.ts";
import { createSite } from "@agent-engine/core/sites/create-site.ts";
import { createApiKey } from "@agent-engine/core/tenancy/create-api-key.ts";
import { createTenant } from "@agent-engine/core/tenancy/create-tenant.ts";
import { pino } from "pino";
import { createTestDatabase } from "./postgres.ts";

export interface TestServices extends OpenServices {
  ownerUrl: string;
}

export const NO_MODELS: Services["models"] = {
  openaiApiKey: null,
  openaiBaseUrl: null,
  openaiModel: "test-model",
  anthropicApiKey: null,
  anthropicModel: "test-model",
};

/** Opens services on a fresh clone; `close` drops it too. */
export async function openTestServices(
  options: { redisUrl?: string; models?: Partial<Services["models"]> } = {},
): Promise<TestServices> {
  const database = await createTestDatabase();
  const services = await openServices(
    {
      redisUrl: options.redisUrl ?? null,
      secretKeys: ["a-master-key-for-tests-that-is-long-enough"],
      models: { ...NO_MODELS, ...options.models },
    },
    database.ownerUrl,
    pino({ level: "silent" }),
  );
  return {
    ...services,
    ownerUrl: database.ownerUrl,
    async close() {
      await services.close();
      await database.drop();
    },
  };
}

export interface TestTenant {
  id: TenantId;
  agentId: AgentId;
  siteId: string;
  publishableKey: string;
  secretKey: string;
  /** The context of a secret key with all scopes. */
  ctx: Ctx;
}

export const TEST_ORIGIN = "https://shop.example";

/** A tenant with a published agent, a site that allows `TEST_ORIGIN`, and a secret key. */
export async function createTestTenant(services: Services, config: Partial<AgentConfig> = {}): Promise<TestTenant> {
  const { id } = await createTenant(services, { name: "Test tenant" });
  const setup: Ctx = { services, tenantId: id, actor: { kind: "worker" }, correlationId: "test-setup" };
  const agent = await createAgent(setup, { name: "Test agent", config: agentConfig.parse(config) });
  await publishAgent(setup, agent.id);
  const agentId = agent.id as AgentId;
  const site = await createSite(setup, { name: "Test site", agentId, allowedOrigins: [TEST_ORIGIN] });
  const key = await createApiKey(setup, { name: "test", scopes: ["*"] });
  const actor: Actor = { kind: "secret_key", apiKeyId: key.id as `key_${string}`, scopes: ["*"] };
  return {
    id,
    agentId,
    siteId: site.id,
    publishableKey: site.publishableKey,
    secretKey: key.key,
    ctx: { services, tenantId: id, actor, correlationId: "test" },
  };
}
