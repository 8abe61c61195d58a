/** Against Composio itself, where there is a key. It changes nothing there. */
import { pino } from "pino";
import { expect, test } from "vitest";
import { loadConfig } from "../../config/env.ts";
import { createEgress } from "../../net/egress.ts";
import { composioAccess } from "../composio-access.ts";
import type { KindDeps } from "../toolkit-kind.ts";
import { createCatalogue } from "./catalogue.ts";
import { composioKind } from "./composio-kind.ts";

const LIVE_MS = 60_000;
const access = composioAccess(loadConfig());

if (!access) process.stdout.write("SKIPPED: the live smoke test of Composio needs COMPOSIO_API_KEY\n");

test.runIf(access !== null)(
  "Composio itself answers as its double does",
  async () => {
    const egress = createEgress({ allowLoopback: false });
    const deps: KindDeps = { egress, composio: access, now: Date.now, log: pino({ level: "warn" }) };
    const signal = AbortSignal.timeout(LIVE_MS);
    try {
      const { items } = await createCatalogue(deps).toolkits({ limit: 100, cursor: null, search: "gmail" });
      expect(items.map(({ slug }) => slug)).toContain("gmail");
      const mail = await composioKind.discover("mail", { toolkit: "gmail", connections: "visitor" }, deps, signal);
      expect(mail.tools.length).toBeGreaterThan(0);
      const settings = { toolkit: "hackernews", connections: "none" } as const;
      const { tools } = await composioKind.discover("news", settings, deps, signal);
      const toolkit = composioKind.open("news", settings, tools, deps);
      const tool = tools.find(({ effect }) => effect === "read") ?? tools[0];
      const answer = await toolkit.execute(tool?.name ?? "", {
        idempotencyKey: "live",
        arguments: {},
        connection: null,
        signal,
        deadline: Date.now() + LIVE_MS,
        context: {
          tenantId: "smoke",
          agentId: "a",
          conversationId: "c",
          runId: "r",
          visitorId: null,
          correlationId: "x",
        },
      });
      expect(answer).toHaveProperty("content");
    } finally {
      await egress.close();
    }
  },
  LIVE_MS,
);
