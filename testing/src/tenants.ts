/** Services on a database of their own, and tenants in them, for integration tests. */
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Actor, Ctx, Services } from "@agent-engine/core/context.ts";
import { openServices, type OpenServices } from "@agent-engine/core/services.ts";
import { resolveApiKey } from "@agent-engine/core/tenancy/resolve-api-key.ts";
import { setUpTenant } from "@agent-engine/core/tenancy/set-up-tenant.ts";
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
  const ready = await setUpTenant(services, {
    name: "Test tenant",
    agent: { name: "Test agent", config: agentConfig.parse(config) },
    site: { name: "Test site", allowedOrigins: [TEST_ORIGIN] },
  });
  const key = await resolveApiKey(services, ready.secretKey);
  if (!key) throw new Error("the new key is not known");
  const actor: Actor = { kind: "secret_key", apiKeyId: key.apiKeyId, scopes: key.scopes };
  return {
    ...ready,
    id: ready.tenantId,
    ctx: { services, tenantId: ready.tenantId, actor, correlationId: "test" },
  };
}
