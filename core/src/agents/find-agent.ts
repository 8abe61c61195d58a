import type { EntityManager } from "@mikro-orm/postgresql";
import { LockMode } from "@mikro-orm/core";
import { AgentEntity, AgentVersionEntity } from "../db/entities/entities.ts";
import { notFound } from "../errors.ts";
import { parseId } from "../ids.ts";

/** The agent of the transaction's tenant, locked when it is about to change. */
export async function findAgent(em: EntityManager, id: string, options: { lock?: boolean } = {}): Promise<AgentEntity> {
  const agentId = parseId("agent", id, "agent");
  const agent = await em.findOne(
    AgentEntity,
    { id: agentId },
    options.lock ? { lockMode: LockMode.PESSIMISTIC_WRITE } : {},
  );
  if (!agent) throw notFound("agent");
  return agent;
}

export async function publishedVersionOf(em: EntityManager, agent: AgentEntity): Promise<AgentVersionEntity | null> {
  if (agent.publishedVersion == null) return null;
  return em.findOne(AgentVersionEntity, { agentId: agent.id, version: agent.publishedVersion });
}
