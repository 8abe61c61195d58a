/** Every row of the table, provoked over a real wire; and the table that people read. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import type { Failure, FailureKind } from "@agent-engine/core/toolkits/failure.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import { modelFaults } from "@agent-engine/testing/model-faults.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import type { ModelScript } from "@agent-engine/testing/model-script.ts";
import { startToolServer, type ToolFault, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { createCircuits } from "../circuits.ts";
import { resolveModel, type ModelSources } from "../providers/resolve-model.ts";
import { createVendorFetch } from "../providers/vendor-fetch.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { NO_BUILTIN } from "../toolkits/no-builtin-fixture.ts";
import { bindTools, type ToolkitSources } from "../toolkits/registry.ts";
import type { ToolAccount } from "./bound-tool.ts";
import { FREE } from "./spending.ts";
import { SourceBook } from "./citations.ts";
import type { EngineEffects, ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import {
  failureOf,
  failureTable,
  healthOf,
  type FailureId,
  type FailureRow,
} from "@agent-engine/core/toolkits/failure-table.ts";
import { invoke } from "./invoke.ts";
import { runModelStep } from "./model-step.ts";

const vendor = createVendorFetch();
const egress = createEgress({ allowLoopback: true });
let models: ModelServer;
let world: ToolServer;
/** Answers everything with what claims to be compressed and is not. */
const liar = createServer((_, response) => {
  response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
  response.end("not gzip at all");
});
let liarUrl: string;

beforeAll(async () => {
  models = await startModelServer();
  world = await startToolServer();
  const port = await freePort();
  await new Promise<void>((resolve) => liar.listen(port, "127.0.0.1", resolve));
  liarUrl = `http://127.0.0.1:${port}`;
});
afterAll(async () => {
  await Promise.all([models.stop(), world.stop(), vendor.close(), egress.close()]);
  liar.close();
});

/** What a failure came to. Where the run waits, its interrupt has no kind. */
interface Seen {
  code: string;
  kind: FailureKind | null;
}

let ids = 0;
const effects: EngineEffects = {
  emit: () => {},
  flush: async () => {},
  recordToolStep: async () => {},
  beginInvocation: async () => {},
  recordFailure: async () => {},
  recordResult: async () => {},
  assertLease: () => {},
  now: Date.now,
  newId: (prefix) => `${prefix}_${++ids}`,
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      });
    }),
  random: () => 0,
};

function runOf(model: EngineRun["model"], tools: EngineRun["tools"], signal: AbortSignal): EngineRun {
  const input = {
    runId: "run_1",
    conversationId: "conv_1",
    agent: agentConfig.parse({}),
    agentName: "Ada",
    history: initialState,
    stepIndex: 0,
    signal,
    attempt: 1,
  };
  // One attempt: what is seen is the first failure.
  const retryPolicy = { maxAttempts: 1, totalMs: 0, baseDelayMs: 0, maxDelayMs: 0 };
  const sources = new SourceBook(initialState, "run_1", () => false);
  const announced = { action: "none" } as const;
  return { input, effects, model, tools, retryPolicy, sources, thinking: signal, spending: FREE, announced };
}

const never = new AbortController().signal;
const status = (code: number, body?: unknown): ModelScript => ({
  steps: [{ kind: "status", status: code, ...(body === undefined ? {} : { body }) }],
});
const saying = (message: string, code: string) => ({ error: { message, code } });

/** How long the other side is waited for: long enough for a busy machine, unless it is the silence that is looked at. */
const PATIENT_MS = 8_000;
const SHORT_MS = 150;
const SHORT = { stall: { firstPartMs: SHORT_MS, gapMs: SHORT_MS } };

async function askModel(
  choice: Partial<Parameters<typeof resolveModel>[0]>,
  sources: Partial<ModelSources> = {},
): Promise<Seen> {
  const config = {
    openaiApiKey: null,
    openaiBaseUrl: models.url,
    openaiModel: "m",
    anthropicApiKey: null,
    anthropicModel: "m",
  };
  const model = resolveModel(
    { provider: "openai", name: null, settings: {}, ...choice },
    {
      models: config,
      egress,
      vendorFetch: vendor.fetch,
      stall: { firstPartMs: PATIENT_MS, gapMs: PATIENT_MS },
      ...sources,
    },
  );
  const end = await runModelStep(runOf(model, new Map(), never), 0, [
    { role: "user", content: [{ type: "text", text: "?" }] },
  ]);
  if (end.kind === "failed") return end.failure;
  if (end.kind !== "interrupt") throw new Error(`the model did not fail: ${end.kind}`);
  const metadata = end.interrupts[0]?.metadata;
  expect(metadata).toMatchObject({ advice: expect.any(String), provider: expect.any(String) });
  return { code: String(metadata?.code), kind: null };
}

const answering =
  (script: ModelScript, sources: Partial<ModelSources> = {}) =>
  () => {
    models.enqueue(script);
    return askModel({}, sources);
  };

interface Call {
  baseUrl?: string;
  fault?: ToolFault;
  timeoutMs?: number;
  sources?: Partial<ToolkitSources>;
  invocation?: Partial<ToolInvocation>;
  signal?: AbortSignal;
  isGone?: true;
  account?: ToolAccount;
  /** In place of what the toolkit makes of a failure. */
  failsWith?: Failure;
  knowledge?: true;
}

async function callTool(call: Call): Promise<Seen> {
  if (call.fault) world.enqueueFaults(call.fault);
  const operation = { name: "send", description: "Sends", method: "POST", path: "/send" };
  const agent = agentConfig.parse({
    knowledge: { enabled: call.knowledge === true },
    toolkits: [
      { toolkit: "builtin" },
      {
        toolkit: "http",
        settings: {
          name: "shop",
          baseUrl: call.baseUrl ?? world.url,
          timeoutMs: call.timeoutMs ?? PATIENT_MS,
          operations: [operation],
        },
      },
    ],
  });
  const context = {
    tenantId: "t",
    agentId: "a",
    conversationId: "c",
    runId: "r",
    visitorId: null,
    correlationId: "x",
  };
  const { tools } = await bindTools(agent, context, {
    egress,
    searchKnowledge: async () => [],
    builtin: NO_BUILTIN,
    ...call.sources,
  });
  const toolName = call.knowledge ? "knowledge_search" : "shop_send";
  const { account, failsWith } = call;
  const bound = new Map(
    (call.isGone ? [] : tools).map((tool) => [
      tool.description.name,
      { ...tool, ...(account ? { account } : {}), ...(failsWith ? { classifyFailure: () => failsWith } : {}) },
    ]),
  );
  const invocation: ToolInvocation = {
    toolCallId: "call_1",
    callIndex: 0,
    toolName,
    effect: call.knowledge ? "read" : "write",
    idempotencyKey: `key-${++ids}`,
    arguments: call.knowledge ? { query: "?" } : {},
    attempts: 0,
    startedAt: null,
    outcome: null,
    decision: null,
    ...call.invocation,
  };
  const model = resolveModel(
    { provider: "extractive", name: null, settings: {} },
    {
      models: {
        openaiApiKey: null,
        openaiBaseUrl: null,
        openaiModel: "m",
        anthropicApiKey: null,
        anthropicModel: "m",
      },
      egress,
      vendorFetch: vendor.fetch,
    },
  );
  const signal = call.signal ?? never;
  const end = await invoke(runOf(model, bound, signal), 0, invocation, signal);
  const { outcome } = invocation;
  if (outcome && "failure" in outcome) return outcome.failure;
  if (end.kind !== "interrupt") throw new Error(`the call did not fail: ${end.kind}`);
  return { code: String(end.interrupt.metadata?.code), kind: null };
}

/** A failure, and then the same with a circuit that opened at once. */
async function whenOpen(of: "model" | "tool", provoke: (circuit: Circuit) => Promise<Seen>): Promise<Seen> {
  const circuits = createCircuits({ failures: 1, openMs: 60_000, maxOpenMs: 60_000, max: 9 });
  const circuit = circuits.circuitOf({ tenantId: "tenant_t", of, provider: "p", host: "h" });
  if (of === "model") models.enqueue(modelFaults.serverError);
  else world.enqueueFaults({ kind: "error", when: "before", status: 500 });
  expect((await provoke(circuit)).code).not.toBe("circuit_open");
  return provoke(circuit);
}
type Circuit = ReturnType<ReturnType<typeof createCircuits>["circuitOf"]>;

const accountOf = (connect: ToolAccount["connect"]): ToolAccount => ({
  toolkitId: "toolkit_1",
  title: "Shop",
  mayConnect: false,
  connect,
});

async function connectToNothing(): Promise<void> {
  const client = new pg.Client({ host: "127.0.0.1", port: await freePort() });
  await client.connect();
}

const wire = (fault: ToolFault) => () => callTool({ fault, ...(fault.kind === "hang" ? { timeoutMs: SHORT_MS } : {}) });
const error = (code: number) => wire({ kind: "error", when: "before", status: code });

const provocations: Record<FailureId, Record<string, () => Promise<Seen>>> = {
  "model.quota_exhausted": {
    "402": answering(status(402)),
    "429, and says so": answering(status(429, saying("You exceeded your current quota", "insufficient_quota"))),
  },
  "model.context_too_long": {
    "413": answering(status(413)),
    "400, and says so": answering(status(400, saying("Too long", "context_length_exceeded"))),
  },
  "model.rate_limited": { "429": answering(modelFaults.rateLimited) },
  "model.content_filtered": {
    "400, and says so": answering(status(400, saying("Refused", "content_filter"))),
    "in its stream": answering({ steps: [{ kind: "error", message: "Refused", code: "content_filter" }] }),
  },
  "model.not_authorized": { "401": answering(modelFaults.badKey), "403": answering(status(403)) },
  "model.model_not_found": { "404": answering(status(404)) },
  "model.timeout": { "408": answering(status(408)) },
  "model.unavailable": {
    "409": answering(status(409)),
    "425": answering(status(425)),
    "500": answering(modelFaults.serverError),
    "503": answering(modelFaults.overloaded),
    "529": answering(status(529)),
    "in its stream": answering(modelFaults.errorInStream),
  },
  "model.invalid_request": {
    "400": answering(status(400)),
    "422": answering(status(422)),
    "418": answering(status(418)),
  },
  "model.stalled": {
    "before its answer": answering(modelFaults.neverAnswers, SHORT),
    "within it": answering(modelFaults.stallMidStream, SHORT),
  },
  "model.cut_off": {
    "by a cut": answering(modelFaults.cutMidStream),
    "by an end without a reason": answering(modelFaults.endsWithoutFinish),
  },
  "model.garbage": { "in its stream": answering(modelFaults.garbageJson) },
  "model.connection_failed": {
    "nothing listens": async () =>
      askModel({
        provider: "openai-compatible",
        name: "m",
        settings: { baseUrl: `http://127.0.0.1:${await freePort()}` },
      }),
    "it hangs up": answering(modelFaults.cutAtOnce),
  },
  "model.address_refused": {
    "the metadata service": () =>
      askModel({ provider: "openai-compatible", name: "m", settings: { baseUrl: "http://169.254.169.254/v1" } }),
  },
  "model.not_configured": { "no base URL": () => askModel({ provider: "openai-compatible", name: "m" }) },
  "model.circuit_open": {
    "after a failure": () => whenOpen("model", (circuit) => askModel({}, { circuitOf: () => circuit })),
  },
  "model.unknown": {
    "an error of another kind": () => askModel({}, { vendorFetch: () => Promise.reject(new RangeError("odd")) }),
  },
  "tool.rate_limited": { "429": wire({ kind: "rateLimited", retryAfterSeconds: 7 }) },
  "tool.unavailable": { "425": error(425), "503": error(503) },
  "tool.timeout": {
    "408": error(408),
    "before it did it": wire({ kind: "hang", when: "before" }),
    "after it did it": wire({ kind: "hang", when: "after" }),
    "the engine's deadline": () => callTool({ fault: { kind: "hang", when: "after" }, sources: { deadlineMs: 20 } }),
  },
  "tool.refused": { "302": error(302), "404": error(404), "422": error(422), "501": error(501), "505": error(505) },
  "tool.server_error": { "500": error(500), "502": error(502), "504": error(504) },
  "tool.connection_failed": {
    "nothing listens": async () => callTool({ baseUrl: `http://127.0.0.1:${await freePort()}` }),
  },
  "tool.connection_lost": {
    "before it did it": wire({ kind: "cut", when: "before" }),
    "after it did it": wire({ kind: "cut", when: "after" }),
  },
  "tool.address_refused": { "the metadata service": () => callTool({ baseUrl: "http://169.254.169.254" }) },
  "tool.search_failed": {
    "nothing listens": () => {
      const searchKnowledge = async () => {
        await connectToNothing();
        return [];
      };
      return callTool({ knowledge: true, sources: { searchKnowledge } });
    },
  },
  "tool.builtin_failed": {
    "nothing listens": () => {
      const planFollowUp = async () => {
        await connectToNothing();
        return { problem: "none" };
      };
      const asked = { inMinutes: 5, instructions: "Ask again." };
      return callTool({
        sources: { builtin: { ...NO_BUILTIN, planFollowUp } },
        invocation: { toolName: "builtin_schedule_follow_up", effect: "idempotent", arguments: asked },
      });
    },
  },
  "tool.interrupted": { "begun by another worker": () => callTool({ invocation: { attempts: 1, startedAt: 1 } }) },
  "tool.cancelled": {
    "while it hangs": async () => {
      const abort = new AbortController();
      const before = world.ledger.length;
      const calling = callTool({ fault: { kind: "hang", when: "after" }, signal: abort.signal });
      await waitFor(() => world.ledger.length > before, { describe: "the call to be on its way" });
      abort.abort();
      return calling;
    },
  },
  "tool.declined": { "by a person": () => callTool({ invocation: { decision: { kind: "decline", by: "visitor" } } }) },
  "tool.not_connected": {
    "nobody has connected": () => callTool({ account: accountOf(async () => null) }),
  },
  "tool.connection_expired": {
    "a token that is refused": () =>
      callTool({
        account: accountOf(async () => ({ id: "connection_1", credential: {} })),
        fault: { kind: "error", when: "before", status: 500 },
        failsWith: failureOf("tool.connection_expired", "The token has expired."),
      }),
  },
  "tool.connection_unreadable": {
    "the database does not answer": () =>
      callTool({ account: accountOf(async () => Promise.reject(new Error("no database"))) }),
    "nor does it within the deadline": () =>
      callTool({ account: accountOf(() => new Promise(() => {})), sources: { deadlineMs: 20 } }),
  },
  "tool.page_failed": {
    "by its own word": () => callTool({ invocation: { decision: { kind: "error", by: "visitor", reason: "No." } } }),
    "by silence": () => callTool({ invocation: { decision: { kind: "error", by: "expiry" } } }),
  },
  "tool.tool_gone": { "while the run waited": () => callTool({ isGone: true }) },
  "tool.circuit_open": {
    "after a failure": () => whenOpen("tool", (circuit) => callTool({ sources: { circuitOf: () => circuit } })),
  },
  "tool.unknown": { "an answer that cannot be unpacked": () => callTool({ baseUrl: liarUrl }) },
};

const cases = Object.entries(provocations).flatMap(([id, ways]) =>
  Object.entries(ways).map(([way, provoke]): [FailureId, string, () => Promise<Seen>] => [
    id as FailureId,
    way,
    provoke,
  ]),
);

test.each(cases)("%s: %s", async (id, _, provoke) => {
  const { kind, code }: FailureRow = failureTable[id];
  const seen = await provoke();
  expect(seen.code).toBe(code);
  if (seen.kind !== null) expect(seen.kind).toBe(kind);
});

describe("of one kind of source", () => {
  test("a code stands in one row", () => {
    const codes = Object.values(failureTable).map(({ of, code }) => `${of}.${code}`);
    expect(codes).toEqual(Object.keys(failureTable));
  });

  test("a refusal says that the other side is well, a failure of its own that it is not, the rest nothing", () => {
    for (const row of Object.values<FailureRow>(failureTable)) {
      const { of, kind, code } = row;
      const health = healthOf(of, { kind, code, detail: "", requestId: null, retryAfterMs: null });
      expect(health).toBe(kind === "permanent" ? "healthy" : row.breaks ? "failed" : "unclear");
      if (row.breaks) expect(["transient", "unknown_outcome"]).toContain(kind);
    }
  });
});

test("docs/runs.md shows the table as it is", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../docs/runs.md"), "utf8");
  const shown = [...text.matchAll(/^\| (model|tool) \| .*$/gm)].map(([line]) => line);
  const ours = Object.values<FailureRow>(failureTable).map(
    ({ of, sign, code, kind, breaks }) => `| ${of} | ${sign} | \`${code}\` | ${kind} | ${breaks ? "yes" : ""} |`,
  );
  expect(shown).toEqual(ours.map((line) => line.replace("|  |", "| |")));
});
