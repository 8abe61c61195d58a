import type { AgentVersion, Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { AgentVersionEntity } from "../db/entities/entities.ts";
import type { PageRequest } from "../db/page.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { ProblemError } from "../errors.ts";
import { toAgentVersion } from "./agent-resource.ts";
import { findAgent } from "./find-agent.ts";

/** An agent's published versions, newest first. The cursor is the last version shown. */
export async function listAgentVersions(ctx: Ctx, agentId: string, page: PageRequest): Promise<Page<AgentVersion>> {
  if (page.cursor !== null && !/^[1-9]\d{0,8}$/.test(page.cursor)) {
    throw new ProblemError(
      "invalid_request",
      "`cursor` is not one this list gave. Use the `nextCursor` of the page before.",
    );
  }
  return transactEntities(ctx, async (em) => {
    const agent = await findAgent(em, agentId);
    const versions = await em.find(
      AgentVersionEntity,
      { agentId: agent.id, ...(page.cursor === null ? {} : { version: { $lt: Number(page.cursor) } }) },
      { orderBy: { version: "desc" }, limit: page.limit + 1 },
    );
    const items = versions.slice(0, page.limit).map(toAgentVersion);
    return { items, nextCursor: versions.length > page.limit ? String(items.at(-1)?.version) : null };
  });
}
