import type { AgentVersion } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { AgentVersionEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { toAgentVersion } from "./agent-resource.ts";
import { findAgent } from "./find-agent.ts";
import { checkInstalled, pinRevisions } from "./installed-choices.ts";

/** Freezes the draft as the next version and lets new runs use it; runs under way keep theirs. */
export async function publishAgent(ctx: Ctx, agentId: string): Promise<AgentVersion> {
  return transactEntities(ctx, async (em, tx) => {
    const agent = await findAgent(em, agentId, { lock: true });
    const [last] = await em.find(AgentVersionEntity, { agentId: agent.id }, { orderBy: { version: "desc" }, limit: 1 });
    // What was there when the draft was written may have gone since.
    await checkInstalled(tx, agent.draft.toolkits);
    const toolkits = await pinRevisions(tx, agent.draft.toolkits);
    const version = em.create(AgentVersionEntity, {
      agentId: agent.id,
      version: (last?.version ?? 0) + 1,
      tenantId: ctx.tenantId,
      config: { ...agent.draft, toolkits },
      publishedAt: new Date(ctx.services.clock()),
    });
    await em.flush();
    const before = { publishedVersion: agent.publishedVersion ?? null };
    agent.publishedVersion = version.version;
    await em.flush();
    const after = { publishedVersion: version.version };
    await audit(ctx, tx, { action: "agent.published", target: { kind: "agent", id: agent.id }, before, after });
    return toAgentVersion(version);
  });
}
