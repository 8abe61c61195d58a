import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Ctx, Services } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { inTenant, type Tx } from "../db/transaction.ts";
import { idOf } from "../ids.ts";
import { hintOf } from "../secrets/mask.ts";
import { keepSecret } from "../secrets/secrets.ts";
import { mapSecretSettings, secretSettings, type SecretReference } from "../toolkits/secret-settings.ts";
import { toolkitSecretPlace } from "./agent-secrets.ts";

const BATCH = 100;

const toSeal = statement<{ tenant_id: string; agent_id: string }>("agents_to_seal", "select * from agents_to_seal($1)");

const draftOf = statement<{ draft: AgentConfig }>(
  "agent_draft_lock",
  "select draft from agents where id = $1 for no key update",
);
const setDraft = statement("agent_draft_seal", "update agents set draft = $2 where id = $1");

const openVersions = statement<{ version: number; config: AgentConfig }>(
  "agent_versions_open",
  "select version, config from agent_versions where agent_id = $1 and has_open_headers(config) order by version",
);
const sealVersion = statement("agent_version_seal", "select seal_version($1, $2, $3)");

/**
 * Seals the credentials of agents that were stored before there was a place for them, drafts and versions alike. Each
 * start asks; once all is sealed there is nothing to find. A migration could not do it: it has no master key.
 */
export async function sealOpenSettings(services: Services): Promise<number> {
  const tried = new Set<string>();
  for (let sealed = 0; ;) {
    const rows = await services.db.query(toSeal, [BATCH + tried.size]);
    const todo = rows.filter(({ agent_id }) => !tried.has(agent_id));
    for (const { tenant_id, agent_id } of todo) {
      tried.add(agent_id);
      const tenantId = idOf("tenant", tenant_id);
      const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "seal-settings" };
      try {
        await inTenant(services.db, tenantId, (tx) => sealAgent(ctx, tx, agent_id));
        sealed++;
      } catch (error) {
        services.log.error({ err: error, tenantId, agentId: idOf("agent", agent_id) }, "credentials left unsealed");
      }
    }
    if (todo.length === 0) return sealed;
  }
}

async function sealAgent(ctx: Ctx, tx: Tx, agentUuid: string): Promise<void> {
  const agentId = idOf("agent", agentUuid);
  // The same value in draft and versions is one secret: they are compared to say whether anything is unpublished.
  const references = new Map<string, SecretReference>();
  const seal = async (config: AgentConfig): Promise<AgentConfig> => {
    const toolkits: AgentConfig["toolkits"] = [];
    for (const choice of config.toolkits) {
      for (const { field, value } of secretSettings(choice)) {
        if (typeof value !== "string" || references.has(`${field} ${value}`)) continue;
        const secret = await keepSecret(ctx, tx, toolkitSecretPlace(agentId, field), value);
        references.set(`${field} ${value}`, { secret, hint: hintOf(value) });
      }
      toolkits.push(
        mapSecretSettings(choice, (value, field) =>
          typeof value === "string" ? references.get(`${field} ${value}`) : value,
        ),
      );
    }
    return { ...config, toolkits };
  };
  const [agent] = await tx.query(draftOf, [agentUuid]);
  if (!agent) return;
  await tx.query(setDraft, [agentUuid, jsonbOf(await seal(agent.draft))]);
  for (const { version, config } of await tx.query(openVersions, [agentUuid])) {
    await tx.query(sealVersion, [agentUuid, version, jsonbOf(await seal(config))]);
  }
}
