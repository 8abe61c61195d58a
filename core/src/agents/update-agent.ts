import type { Agent, AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { toAgent } from "./agent-resource.ts";
import { checkToolkits } from "./check-toolkits.ts";
import { findAgent, publishedVersionOf } from "./find-agent.ts";

/** Changes the draft: the fields given, whole. What visitors meet stays the published version. */
export async function updateAgent(
  ctx: Ctx,
  input: { agentId: string; name?: string; config: Partial<AgentConfig> },
): Promise<Agent> {
  if (input.config.toolkits) checkToolkits(input.config.toolkits);
  return transactEntities(ctx, async (em) => {
    const agent = await findAgent(em, input.agentId, { lock: true });
    if (input.name !== undefined) agent.name = input.name;
    agent.draft = { ...agent.draft, ...input.config };
    agent.updatedAt = new Date(ctx.services.clock());
    await em.flush();
    return toAgent(agent, await publishedVersionOf(em, agent));
  });
}
