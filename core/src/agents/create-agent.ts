import type { Agent, AgentConfig } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { AgentEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { keepToolkitSecrets } from "./agent-secrets.ts";
import { auditedAgent, toAgent } from "./agent-resource.ts";
import { checkToolkits } from "./check-toolkits.ts";
import { checkInstalled } from "./installed-choices.ts";

/** Makes an agent with a draft; it answers nobody until it is published. */
export async function createAgent(ctx: Ctx, input: { name: string; config: AgentConfig }): Promise<Agent> {
  checkToolkits(input.config.toolkits);
  return transactEntities(ctx, async (em, tx) => {
    const now = new Date(ctx.services.clock());
    const id = ctx.services.newId("agent");
    await checkInstalled(tx, input.config.toolkits);
    const toolkits = await keepToolkitSecrets(ctx, tx, id, input.config.toolkits, []);
    const agent = em.create(AgentEntity, {
      id,
      tenantId: ctx.tenantId,
      name: input.name,
      draft: { ...input.config, toolkits },
      publishedVersion: null,
      createdAt: now,
      updatedAt: now,
    });
    await em.flush();
    await audit(ctx, tx, { action: "agent.created", target: { kind: "agent", id }, after: auditedAgent(agent) });
    return toAgent(agent, null);
  });
}
