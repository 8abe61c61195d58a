import type { SiteChallenge } from "@agent-engine/protocol/administration.ts";
import type { AgentId, SiteId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";

export interface ResolvedSite {
  tenantId: TenantId;
  siteId: SiteId;
  agentId: AgentId;
  name: string;
  /** Exact origins, or `https://*.example.com`. */
  allowedOrigins: string[];
  theme: Record<string, string>;
  challenge: SiteChallenge | null;
}

const resolve = statement<{
  tenant_id: string;
  site_id: string;
  agent_id: string;
  name: string;
  allowed_origins: string[];
  theme: Record<string, string>;
  challenge: SiteChallenge | null;
}>("resolve_publishable_key", "select * from resolve_publishable_key($1)");

/** The site a publishable key (`pk_…`) belongs to; null when there is none. */
export async function resolvePublishableKey(services: Pick<Services, "db">, key: string): Promise<ResolvedSite | null> {
  const [row] = await services.db.query(resolve, [key.replaceAll("\u0000", "")]);
  if (!row) return null;
  return {
    tenantId: idOf("tenant", row.tenant_id),
    siteId: idOf("site", row.site_id),
    agentId: idOf("agent", row.agent_id),
    name: row.name,
    allowedOrigins: row.allowed_origins,
    theme: row.theme,
    challenge: row.challenge,
  };
}
