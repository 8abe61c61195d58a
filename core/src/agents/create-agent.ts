import type { Agent, AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { AgentEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { toAgent } from "./agent-resource.ts";
import { checkToolkits } from "./check-toolkits.ts";

/** Makes an agent with a draft; it answers nobody until it is published. */
export async function createAgent(ctx: Ctx, input: { name: string; config: AgentConfig }): Promise<Agent> {
  checkToolkits(input.config.toolkits);
  return transactEntities(ctx, async (em) => {
    const now = new Date(ctx.services.clock());
    const agent = em.create(AgentEntity, {
      id: ctx.services.newId("agent"),
      tenantId: ctx.tenantId,
      name: input.name,
      draft: input.config,
      publishedVersion: null,
      createdAt: now,
      updatedAt: now,
    });
    await em.flush();
    return toAgent(agent, null);
  });
}
