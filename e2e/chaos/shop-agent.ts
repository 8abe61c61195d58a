/** The agents that experiments talk to: one with a tool of each effect for all, others on sites of their own. */
import type { Agent } from "@agent-engine/protocol/resources.ts";
import type { Api } from "../src/api-client.ts";
import { SITE_ORIGIN, type TenantKeys } from "../src/shop-tenant.ts";
import type { World } from "./world.ts";

/** No tool that is waited for hangs longer. */
const TOOL_TIMEOUT_MS = 60_000;

export async function publishShopAgent(staff: Api, agentId: string, toolsUrl: string): Promise<void> {
  const operation = (name: string, method: string) => ({
    name,
    description: `Does ${name}`,
    method,
    path: `/${name}`,
    parameters: { type: "object", properties: { value: { type: "string" } } },
  });
  const settings = {
    name: "shop",
    baseUrl: toolsUrl,
    timeoutMs: TOOL_TIMEOUT_MS,
    operations: [operation("look", "GET"), operation("set", "PUT"), operation("send", "POST")],
  };
  const path = `/v1/agents/${agentId}`;
  await staff.request<Agent>("PATCH", path, {
    knowledge: { enabled: false },
    toolkits: [{ toolkit: "http", settings }],
  });
  await staff.request("POST", `${path}/publish`);
}

/** The keys of a site of its own, whose agent is like this. */
export async function siteOf(world: World, config: { name: string } & Record<string, unknown>): Promise<TenantKeys> {
  const staff = world.staff();
  const agent = await staff.request<Agent>("POST", "/v1/agents", config);
  await staff.request("POST", `/v1/agents/${agent.id}/publish`);
  const site = await staff.request<{ publishableKey: string }>("POST", "/v1/sites", {
    name: config.name,
    agentId: agent.id,
    allowedOrigins: [SITE_ORIGIN],
  });
  return { ...world.keys, agentId: agent.id, publishableKey: site.publishableKey };
}

/** A model's step that calls one of the shop's tools. `World.toolFaults` says by its value what the call suffers. */
export function callTool(name: "look" | "set" | "send", value: string) {
  return { kind: "toolCall" as const, name: `shop_${name}`, arguments: { value } };
}
