/** The agent that every experiment talks to: one tool of each effect. */
import type { Agent } from "@agent-engine/protocol/resources.ts";
import type { Api } from "../src/api-client.ts";

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

/** A model's step that calls one of the shop's tools. `World.toolFaults` says by its value what the call suffers. */
export function callTool(name: "look" | "set" | "send", value: string) {
  return { kind: "toolCall" as const, name: `shop_${name}`, arguments: { value } };
}
