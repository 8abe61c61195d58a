import type { Agent, AgentConfig } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { forgetUnused, keepToolkitSecrets } from "./agent-secrets.ts";
import { auditedAgent, toAgent } from "./agent-resource.ts";
import { checkToolkits } from "./check-toolkits.ts";
import { findAgent, publishedVersionOf } from "./find-agent.ts";
import { checkInstalled } from "./installed-choices.ts";

/** Changes the draft: the fields given, whole. What visitors meet stays the published version. */
export async function updateAgent(
  ctx: Ctx,
  input: { agentId: string; name?: string; config: Partial<AgentConfig> },
): Promise<Agent> {
  if (input.config.toolkits) checkToolkits(input.config.toolkits);
  return transactEntities(ctx, async (em, tx) => {
    const agent = await findAgent(em, input.agentId, { lock: true });
    const before = auditedAgent(agent);
    const { toolkits: current } = agent.draft;
    if (input.config.toolkits) await checkInstalled(tx, input.config.toolkits);
    const toolkits = input.config.toolkits
      ? await keepToolkitSecrets(ctx, tx, agent.id, input.config.toolkits, current)
      : current;
    if (input.name !== undefined) agent.name = input.name;
    agent.draft = { ...agent.draft, ...input.config, toolkits };
    agent.updatedAt = new Date(ctx.services.clock());
    await em.flush();
    await forgetUnused(tx, agent.id, current, toolkits);
    const answer = toAgent(agent, await publishedVersionOf(em, agent));
    const target = { kind: "agent", id: agent.id };
    await audit(ctx, tx, { action: "agent.updated", target, before, after: auditedAgent(agent) });
    return answer;
  });
}
