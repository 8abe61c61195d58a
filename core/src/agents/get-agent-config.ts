import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

export interface PublishedAgent {
  name: string;
  config: AgentConfig;
}

const byVersion = statement<PublishedAgent>(
  "agent_config",
  `select a.name, v.config from agent_versions v join agents a on a.id = v.agent_id
   where v.agent_id = $1 and v.version = $2`,
);

const MAX_KEPT = 1_000;

/** Reads published versions, which never change, and keeps the most recent ones. */
export function createAgentConfigReader(services: Pick<Services, "db">) {
  const kept = new Map<string, PublishedAgent>();
  return async (tenantId: TenantId, agentId: AgentId, version: number): Promise<PublishedAgent> => {
    const key = `${tenantId} ${agentId} ${version}`;
    const known = kept.get(key);
    if (known) return known;
    const [row] = await inTenant(services.db, tenantId, (tx) => tx.query(byVersion, [uuidOf(agentId), version]));
    if (!row) throw new Error(`agent ${agentId} has no version ${version}`);
    if (kept.size >= MAX_KEPT)
      for (const oldest of kept.keys()) {
        kept.delete(oldest);
        break;
      }
    kept.set(key, row);
    return row;
  };
}
