import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { CannotOpen } from "../secrets/sealed.ts";
import type { SecretId } from "../secrets/secrets.ts";
import { openToolkitSecrets } from "./agent-secrets.ts";

export interface PublishedAgent {
  name: string;
  /** Its toolkits' secrets are references. */
  config: AgentConfig;
  /** What the references stand for; null when they cannot be opened. Kept apart: a configuration may be written down. */
  secrets: ReadonlyMap<SecretId, string> | null;
}

const byVersion = statement<{ name: string; config: AgentConfig }>(
  "agent_config",
  `select a.name, v.config from agent_versions v join agents a on a.id = v.agent_id
   where v.agent_id = $1 and v.version = $2`,
);

const MAX_KEPT = 1_000;

/** Reads published versions, which never change, and keeps the most recent ones with their opened secrets. */
export function createAgentConfigReader(services: Services) {
  const kept = new Map<string, PublishedAgent>();
  return async (tenantId: TenantId, agentId: AgentId, version: number): Promise<PublishedAgent> => {
    const key = `${tenantId} ${agentId} ${version}`;
    const known = kept.get(key);
    if (known) return known;
    const agent = await readVersion(services, tenantId, agentId, version);
    // What cannot be opened now may be opened once its key is there.
    if (agent.secrets === null) return agent;
    const [oldest] = kept.keys();
    if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest);
    kept.set(key, agent);
    return agent;
  };
}

async function readVersion(
  services: Services,
  tenantId: TenantId,
  agentId: AgentId,
  version: number,
): Promise<PublishedAgent> {
  const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "agent-config" };
  return inTenant(services.db, tenantId, async (tx) => {
    const [row] = await tx.query(byVersion, [uuidOf(agentId), version]);
    if (!row) throw new Error(`agent ${agentId} has no version ${version}`);
    try {
      return { ...row, secrets: await openToolkitSecrets(ctx, tx, agentId, row.config.toolkits) };
    } catch (error) {
      if (!(error instanceof CannotOpen)) throw error;
      services.log.error({ err: error, tenantId, agentId, version }, "a tool's credential cannot be opened");
      return { ...row, secrets: null };
    }
  });
}
