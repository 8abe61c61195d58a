/** A Composio on this machine, and a toolkit of it that is ready to be called. */
import { afterAll, beforeAll } from "vitest";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import type { ComposioCall } from "@agent-engine/testing/composio/execute.ts";
import { createEgress } from "../../net/egress.ts";
import type { DiscoveredTool, KindDeps } from "../toolkit-kind.ts";
import type { Toolkit, ToolAnswer } from "../toolkit.ts";
import { composioKind } from "./composio-kind.ts";
import type { ComposioSettings } from "./composio-settings.ts";

export const OWNER = "tenant:t1";
export const unhurried = () => AbortSignal.timeout(20_000);

interface CallOptions {
  accountId?: string | null;
  ownerKey?: string;
  signal?: AbortSignal;
  deadlineMs?: number;
}

export interface OpenFixture {
  toolkit: Toolkit;
  tools: DiscoveredTool[];
  problems: string[];
  call: (remote: string, args: Record<string, unknown>, options?: CallOptions) => Promise<ToolAnswer>;
}

export function composioFixture(options: { answer?: (call: ComposioCall) => unknown } = {}) {
  const egress = createEgress({ allowLoopback: true });
  const logged: unknown[] = [];
  const log = (fields: unknown) => void logged.push(fields);
  let server: ComposioServer;
  let deps: KindDeps;
  beforeAll(async () => {
    server = await startComposioServer(options);
    const composio = { apiKey: server.apiKey, baseUrl: server.url };
    deps = { egress, composio, now: Date.now, log: { warn: log, error: log, info: log } };
  });
  afterAll(async () => {
    await Promise.all([server.stop(), egress.close()]);
  });
  return {
    server: () => server,
    deps: () => deps,
    logged,
    async open(given: Partial<ComposioSettings> = {}): Promise<OpenFixture> {
      const settings: ComposioSettings = { toolkit: "gmail", connections: "tenant", ...given };
      const { tools, problems } = await composioKind.discover("mail", settings, deps, unhurried());
      const toolkit = composioKind.open("mail", settings, tools, deps);
      const own = server.connect({ toolkit: settings.toolkit, userId: OWNER });
      return {
        toolkit,
        tools,
        problems,
        call(remote, args, { accountId = own, ownerKey = OWNER, signal, deadlineMs = 20_000 } = {}) {
          const name = tools.find((tool) => tool.remote === remote)?.name ?? remote;
          const credential = { account: { connectedAccountId: accountId }, secret: null, ownerKey };
          return toolkit.execute(name, {
            idempotencyKey: "k",
            arguments: args,
            connection: accountId === null ? null : { id: "conn_1", credential },
            signal: signal ?? unhurried(),
            deadline: Date.now() + deadlineMs,
            context: {
              tenantId: "t1",
              agentId: "a",
              conversationId: "c",
              runId: "r",
              visitorId: null,
              correlationId: "x",
            },
          });
        },
      };
    },
  };
}
