import type { Agent, Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { AgentEntity, AgentVersionEntity } from "../db/entities/entities.ts";
import { cursorId, pageOf, type PageRequest } from "../db/page.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { toAgent } from "./agent-resource.ts";

/** The tenant's agents, newest first. */
export async function listAgents(ctx: Ctx, page: PageRequest): Promise<Page<Agent>> {
  const cursor = cursorId("agent", page.cursor);
  return transactEntities(ctx, async (em) => {
    const agents = await em.find(AgentEntity, cursor ? { id: { $lt: cursor } } : {}, {
      orderBy: { id: "desc" },
      limit: page.limit + 1,
    });
    const published = await em.find(AgentVersionEntity, {
      $or: [
        ...agents.flatMap((agent) =>
          agent.publishedVersion == null ? [] : [{ agentId: agent.id, version: agent.publishedVersion }],
        ),
        // An empty list would mean no condition at all.
        { version: 0 },
      ],
    });
    const byAgent = new Map(published.map((version) => [version.agentId, version]));
    return pageOf(agents, page, (agent) => toAgent(agent, byAgent.get(agent.id) ?? null));
  });
}
