import type { Agent } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { toAgent } from "./agent-resource.ts";
import { findAgent, publishedVersionOf } from "./find-agent.ts";

export async function getAgent(ctx: Ctx, id: string): Promise<Agent> {
  return transactEntities(ctx, async (em) => {
    const agent = await findAgent(em, id);
    return toAgent(agent, await publishedVersionOf(em, agent));
  });
}
