/**
 * What our side adds around tools: the catalogue of a thousand toolkits over HTTP, from memory, one call of a tool of
 * Composio beside the bare request to the same server, and a step of ten calls beside a step of one.
 */
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { openServices } from "@agent-engine/core/services.ts";
import { composioKind } from "@agent-engine/core/toolkits/composio/composio-kind.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import { createTestTenant, NO_MODELS } from "@agent-engine/testing/tenants.ts";
import { pino } from "pino";
import { isMet, lower, overhead, type Figure } from "./figure.ts";
import { closeConnections, get, post } from "./http.ts";
import { CALL_MS, measureParallelCalls } from "./parallel-calls.ts";
import { report } from "./result.ts";
import { startStack } from "./stack.ts";
import { round, spread, type Spread } from "./statistics.ts";

const SIZES = { full: { lists: 1_000, calls: 1_000, steps: 50 }, quick: { lists: 100, calls: 100, steps: 5 } };
const OWNER = "tenant:bench";
const log = pino({ level: "silent" });

interface Measured {
  /** A page of a hundred, at random places and for random words. */
  list: Spread;
  /** One execution as a worker makes it, and the bare request. */
  call: Spread;
  bare: Spread;
}

export async function toolkits(size: keyof typeof SIZES): Promise<boolean> {
  const composio = await startComposioServer();
  const stack = await startStack(console.log, {
    serverEnv: { COMPOSIO_API_KEY: composio.apiKey, COMPOSIO_BASE_URL: composio.url },
  });
  const secretKeys = ["a-master-key-for-a-benchmark-only"];
  const services = await openServices({ redisUrl: null, secretKeys, models: NO_MODELS }, stack.databaseUrl, log);
  try {
    const { secretKey } = await createTestTenant(services);
    const measuring = measure(stack.endpoint.apiUrl, secretKey, composio, SIZES[size]);
    const calls = await Promise.race([measuring, stack.broken]);
    const measuringSteps = measureParallelCalls(stack, services, SIZES[size].steps);
    const { problems, ...steps } = await Promise.race([measuringSteps, stack.broken]);
    const measured = { ...calls, steps };
    const figures: Figure[] = [
      { ...lower("catalogue of 1,000 toolkits, page of 100: p95", "ms", 100), value: measured.list.p95 },
      { ...lower("our side of a tool call: p95", "ms", 15), ...overhead(measured.call.p95, measured.bare.p95) },
      {
        ...lower(`ten calls of ${CALL_MS} ms in one step, times one call: p50`, "×", 1.5, 1.15),
        value: round(steps.ten.p50 / steps.one.p50),
      },
    ];
    const { databaseUrl } = stack;
    await report({
      benchmark: "toolkits",
      size,
      databaseUrl,
      figures,
      baseline: "bare",
      details: measured,
      problems,
    });
    return problems.length === 0 && figures.every((figure) => figure.must === null || isMet(figure, figure.must));
  } finally {
    closeConnections();
    await services.close();
    await stack.stop();
    await composio.stop();
  }
}

async function measure(
  apiUrl: string,
  secretKey: string,
  composio: ComposioServer,
  { lists, calls }: (typeof SIZES)["full"],
): Promise<Measured> {
  const headers = { authorization: `Bearer ${secretKey}` };
  const list: number[] = [];
  for (let round = -10; round < lists; round++) {
    const query = round % 2 === 0 ? `search=service+${round % 9}` : `cursor=${(round * 37) % 900}.none`;
    const ms = await timed(() => get(`${apiUrl}/v1/toolkits/catalogue?limit=100&${round < 0 ? "" : query}`, headers));
    if (round >= 0) list.push(ms);
  }
  const { call, bare } = await measureCalls(composio, calls);
  return { list: spread(list), call: spread(call), bare: spread(bare) };
}

async function measureCalls(composio: ComposioServer, calls: number): Promise<{ call: number[]; bare: number[] }> {
  const egress = createEgress({ allowLoopback: true });
  const deps: KindDeps = { egress, composio: { apiKey: composio.apiKey, baseUrl: composio.url }, now: Date.now, log };
  const settings = { toolkit: "gmail", connections: "tenant" } as const;
  const { tools } = await composioKind.discover("mail", settings, deps, AbortSignal.timeout(30_000));
  const toolkit = composioKind.open("mail", settings, tools, deps);
  const connectedAccountId = composio.connect({ toolkit: "gmail", userId: OWNER });
  const credential = { account: { connectedAccountId }, secret: null, ownerKey: OWNER };
  const body = { user_id: OWNER, connected_account_id: connectedAccountId, arguments: {}, version: "20251103_00" };
  const context = { tenantId: "t", agentId: "a", conversationId: "c", runId: "r", visitorId: null, correlationId: "x" };
  const request = {
    idempotencyKey: "k",
    arguments: {},
    connection: { id: "conn", credential },
    signal: new AbortController().signal,
    deadline: Date.now() + 3_600_000,
    context,
  };
  const samples = { call: [] as number[], bare: [] as number[] };
  try {
    for (let round = -20; round < calls; round++) {
      const url = `${composio.url}/api/v3.1/tools/execute/GMAIL_FETCH_EMAILS`;
      const bare = await timed(() => post(url, body, { "x-api-key": composio.apiKey }));
      const call = await timed(() => toolkit.execute("mail_fetch_emails", request));
      if (round < 0) continue;
      samples.bare.push(bare);
      samples.call.push(call);
    }
  } finally {
    await egress.close();
  }
  return samples;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}
