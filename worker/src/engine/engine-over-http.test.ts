/** The engine with the real providers and the real HTTP toolkit, against servers that fail as they are told to. */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import { modelFaults, type ModelFault } from "@agent-engine/testing/model-faults.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { startToolServer, type ToolFault, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { resolveModel } from "../providers/resolve-model.ts";
import { createVendorFetch } from "../providers/vendor-fetch.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { NO_BUILTIN } from "../toolkits/no-builtin-fixture.ts";
import { bindTools } from "../toolkits/registry.ts";
import { runEngine, type EngineResult } from "./engine.ts";
import type { EngineEffects } from "./effects.ts";
import { CONVERSATION, fold, userMessage } from "./engine-harness.ts";

const vendor = createVendorFetch();
const egress = createEgress({ allowLoopback: true });
let models: ModelServer;
let world: ToolServer;
beforeAll(async () => {
  models = await startModelServer({ text: "All done." });
  world = await startToolServer();
});
beforeEach(() => {
  world.ledger.splice(0);
  models.requests.splice(0);
});
afterAll(async () => {
  await Promise.all([models.stop(), world.stop()]);
  await Promise.all([vendor.close(), egress.close()]);
});

let runs = 0;

async function converse(options: { signal?: AbortSignal; onEvent?: (event: ConversationEvent) => void } = {}): Promise<{
  result: EngineResult;
  state: ConversationState;
}> {
  const runId = `run_${++runs}`;
  const signal = options.signal ?? new AbortController().signal;
  const operation = (name: string, method: string) => ({ name, description: name, method, path: `/${name}` });
  const agent = agentConfig.parse({
    knowledge: { enabled: false },
    toolkits: [
      {
        toolkit: "http",
        settings: {
          name: "shop",
          baseUrl: world.url,
          timeoutMs: 200,
          operations: [operation("look", "GET"), operation("set", "PUT"), operation("send", "POST")],
        },
      },
    ],
  });
  const context = {
    tenantId: "t",
    agentId: "a",
    conversationId: CONVERSATION,
    runId,
    visitorId: null,
    correlationId: "c",
  };
  const { tools } = await bindTools(agent, context, {
    egress,
    searchKnowledge: async () => [],
    builtin: NO_BUILTIN,
  });
  const config = {
    openaiApiKey: null,
    openaiBaseUrl: models.url,
    openaiModel: "m",
    anthropicApiKey: null,
    anthropicModel: "m",
  };
  const model = resolveModel(agent.model, {
    models: config,
    egress,
    vendorFetch: vendor.fetch,
    stall: { firstPartMs: 300, gapMs: 300 },
  });
  const events: ConversationEvent[] = [];
  let ids = 0;
  const effects: EngineEffects = {
    emit: (event) => {
      events.push(event);
      options.onEvent?.(event);
    },
    flush: async () => {},
    recordToolStep: async () => {},
    beginInvocation: async () => {},
    recordFailure: async () => {},
    recordResult: async () => {},
    assertLease: () => {},
    now: Date.now,
    newId: (prefix) => `${prefix}_${++ids}`,
    sleep: (ms, abort) => delay(ms, undefined, { signal: abort }),
    random: () => 0,
  };
  const history = fold(
    [...userMessage("msg_1", "Please do it"), { type: "RUN_STARTED" as const, threadId: CONVERSATION, runId }].map(
      (event) => ({ event, runId }),
    ),
  );
  const result = await runEngine(
    { runId, conversationId: CONVERSATION, agent, agentName: "Ada", history, stepIndex: 0, signal, attempt: 1 },
    { effects, model, tools, retryPolicy: { maxAttempts: 3, totalMs: 20_000, baseDelayMs: 1, maxDelayMs: 5 } },
  );
  const envelopes = events.map((event, index) => ({
    seq: history.lastSeq + index + 1,
    conversationId: CONVERSATION,
    runId,
    at: "",
    correlationId: "",
    event,
  }));
  return { result, state: reduce(history, envelopes) };
}

const asks = (name: string) => models.enqueue({ steps: [{ kind: "toolCall", name: `shop_${name}`, arguments: {} }] });
const spoken = (state: ConversationState) =>
  state.messages.filter((it) => it.role === "assistant").map((it) => it.text);

describe("a model that goes wrong once", () => {
  const transient = Object.keys(modelFaults).filter((fault) => fault !== "badKey") as ModelFault[];

  it.each(transient)("%s: the answer is whole, and there once", async (fault) => {
    const script = modelFaults[fault];
    // `rateLimited` asks for a second; that wait is tested with a clock of its own.
    models.enqueue(fault === "rateLimited" ? { steps: [{ kind: "status", status: 429 }] } : script);
    const { result, state } = await converse();
    expect(result).toMatchObject({ kind: "finished", text: "All done." });
    expect(spoken(state)).toEqual(["All done."]);
  });

  it("badKey: the run fails with a sentence that says nothing of it", async () => {
    models.enqueue(modelFaults.badKey);
    const { result } = await converse();
    expect(result).toMatchObject({
      kind: "failed",
      code: "not_authorized",
      failure: { detail: expect.stringContaining("API key") },
    });
    expect(result.kind === "failed" && result.message).not.toMatch(/key|401/);
  });

  it("a character cut in half between two deltas is whole", async () => {
    models.enqueue({
      steps: [
        { kind: "text", text: "Smile " },
        { kind: "splitPair", character: "😀" },
      ],
    });
    const { state } = await converse();
    expect(spoken(state)).toEqual(["Smile 😀"]);
  });

  it("cancelling ends the request upstream", async () => {
    models.enqueue({
      steps: [
        { kind: "text", text: "One two " },
        { kind: "wait", ms: 60_000 },
      ],
    });
    const abort = new AbortController();
    const { result, state } = await converse({
      signal: abort.signal,
      onEvent: (event) => event.type === "TEXT_MESSAGE_CONTENT" && event.delta.endsWith("two ") && abort.abort(),
    });
    expect(result).toMatchObject({ kind: "finished", finishReason: "cancelled" });
    expect(spoken(state)).toEqual(["One two "]);
  });
});

describe("tools over HTTP", () => {
  const faults: [string, ToolFault][] = [
    ["hangs after it did it", { kind: "hang", when: "after" }],
    ["hangs before it did it", { kind: "hang", when: "before" }],
    ["cuts the connection after it did it", { kind: "cut", when: "after" }],
    ["breaks after it did it", { kind: "error", when: "after" }],
  ];

  it.each(["look", "set", "send"])("%s answers, and the model goes on", async (name) => {
    asks(name);
    const { result, state } = await converse();
    expect(result).toMatchObject({ kind: "finished", text: "All done." });
    expect(state.toolCalls).toMatchObject([{ name: `shop_${name}`, result: expect.stringContaining('"ok":true') }]);
    expect(world.ledger).toHaveLength(1);
  });

  it.each(faults)("a read that %s is made again", async (_, fault) => {
    asks("look");
    world.enqueueFaults(fault);
    expect((await converse()).result).toMatchObject({ kind: "finished", text: "All done." });
    expect(world.ledger).toHaveLength(2);
  });

  it.each(faults)("an idempotent call that %s is made again with its key, and has one effect", async (_, fault) => {
    asks("set");
    world.enqueueFaults(fault, fault);
    expect((await converse()).result).toMatchObject({ kind: "finished", text: "All done." });
    expect(world.ledger).toHaveLength(3);
    const keys = new Set(world.ledger.map((call) => call.key));
    expect(keys.size).toBe(1);
    expect(world.effectsOf([...keys][0] ?? "")).toBe(1);
  });

  it.each(faults)("a write that %s is never made again: a person decides", async (_, fault) => {
    asks("send");
    world.enqueueFaults(fault);
    const { result } = await converse();
    expect(result).toMatchObject({
      kind: "interrupt",
      interrupts: [{ reason: "operator", metadata: { outcome: "unknown" } }],
    });
    expect(world.ledger).toHaveLength(1);
  });
});
