/** For the tests of MCP toolkits: settings, requests and tools with little in them. */
import type { McpTool } from "@agent-engine/testing/mcp-server.ts";
import type { Egress } from "../../net/egress.ts";
import type { DiscoveredTool, KindDeps } from "../toolkit-kind.ts";
import type { ToolRequest } from "../toolkit.ts";
import { parseMcpSettings, type McpSettings } from "./mcp-settings.ts";

export function settingsOf(settings: Record<string, unknown>): McpSettings {
  const parsed = parseMcpSettings(settings);
  if (!parsed.settings) throw new Error(parsed.problems.join("; "));
  return parsed.settings;
}

export function depsOf(egress: Egress, extra: Partial<KindDeps> = {}): KindDeps {
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  return { egress, composio: null, now: Date.now, log, ...extra };
}

export function requestOf(args: Record<string, unknown>, extra: Partial<ToolRequest> = {}): ToolRequest {
  return {
    idempotencyKey: "key-1",
    arguments: args,
    connection: null,
    signal: new AbortController().signal,
    deadline: Date.now() + 10_000,
    context: {
      tenantId: "tenant_1",
      agentId: "agent_1",
      conversationId: "conv_1",
      runId: "run_1",
      visitorId: null,
      correlationId: "c",
    },
    ...extra,
  };
}

/** As a revision keeps them. */
export function discovered(remote: string, effect: DiscoveredTool["effect"] = "write"): DiscoveredTool {
  return {
    remote,
    name: `shop_${remote}`,
    description: remote,
    parameters: { type: "object" },
    effect,
    scopes: [],
    connection: "none",
    visibility: { arguments: false, results: false },
  };
}

export function toolThat(name: string, run: McpTool["run"], annotations: Record<string, unknown> = {}): McpTool {
  const inputSchema = { type: "object", properties: { to: { type: "string" } } };
  return { listed: { name, description: `Does ${name}`, inputSchema, annotations }, run };
}

export const says = (text: string) => ({ content: [{ type: "text", text }] });
