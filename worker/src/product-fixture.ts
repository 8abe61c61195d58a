/** The product without its HTTP edge, in one process: a real database, a real worker, and a world that fails as told. */
import { expect } from "vitest";
import type { Ctx } from "@agent-engine/core/context.ts";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { submit } from "@agent-engine/testing/submit.ts";
import { conversationState } from "@agent-engine/core/events/conversation-state.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { cancelRun } from "@agent-engine/core/runs/cancel-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import type { Decision } from "@agent-engine/core/runs/decisions.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import { forAudience, type Audience, type StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent, Interrupt } from "@agent-engine/protocol/events.ts";
import type { AgentConfig, Run } from "@agent-engine/protocol/resources.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { storedEvents, violations, type InvariantInput } from "@agent-engine/testing/invariants.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { lastUserTurn, type RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import {
  createTestTenant,
  openTestServices,
  type TestServices,
  type TestTenant,
} from "@agent-engine/testing/tenants.ts";
import { visitorOf } from "@agent-engine/testing/spine.ts";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import pg from "pg";
import type { ModelProvider } from "./engine/model-provider.ts";
import type { RetryPolicy } from "./engine/retry-policy.ts";
import { startWorker, type RunningWorker } from "./main.ts";

/** Long enough for a busy machine, short enough for a test. */
export const SILENCE_MS = 1_000;

export interface Product {
  services: TestServices;
  models: ModelServer;
  tools: ToolServer;
  /** As the database's owner: nothing is hidden from it. */
  db: pg.Pool;
  /** Null where the test brings its own. */
  worker: RunningWorker | null;
  retryPolicy: RetryPolicy;
  stall: ModelProvider["stall"];
  /** A visitor in a conversation of their own with an agent that has the shop's tools. */
  chat(config?: Partial<AgentConfig>): Promise<Chat>;
  /** What every test leaves behind must keep the invariants and be readable by AG-UI's clients. */
  expectSound(input?: InvariantInput): Promise<void>;
  stop(): Promise<void>;
}

export async function startProduct(options: { withoutWorker?: true; redisUrl?: string | null } = {}): Promise<Product> {
  const models = await startModelServer({ text: "All done." });
  const tools = await startToolServer();
  const { redisUrl = null } = options;
  const broker = redisUrl === null ? {} : { redisUrl };
  const services = await openTestServices({ ...broker, models: { openaiBaseUrl: models.url } });
  const db = new pg.Pool({ connectionString: services.ownerUrl, max: 2 });
  // A connection that is still closing when its database is dropped.
  db.on("error", () => {});
  const retryPolicy = { maxAttempts: 3, totalMs: 20_000, baseDelayMs: 1, maxDelayMs: 5 };
  const stall = { firstPartMs: SILENCE_MS, gapMs: SILENCE_MS };
  const config = { nodeEnv: "test" as const, workerConcurrency: 16 };
  const worker = options.withoutWorker ? null : await startWorker({ services, config, retryPolicy, stall });
  const product: Product = {
    services,
    models,
    tools,
    db,
    worker,
    retryPolicy,
    stall,
    async chat(config = {}) {
      const tenant = await createTestTenant(services, {
        knowledge: { enabled: false, maxResults: 5 },
        toolkits: [shopToolkit(tools.url)],
        ...config,
      });
      return openChat(product, tenant);
    },
    async expectSound(input = {}) {
      expect(await violations(db, { ledger: tools.ledger, ...input })).toEqual([]);
      const { rows } = await db.query<{ id: string; conversation: string }>(
        "select id::text, conversation_id::text as conversation from runs",
      );
      for (const run of rows) await expectAgUi(db, run);
      await expectMessages(db, [...new Set(rows.map(({ conversation }) => conversation))]);
    },
    async stop() {
      await worker?.stop();
      await db.end();
      await services.close();
      await Promise.all([models.stop(), tools.stop()]);
    },
  };
  return product;
}

async function expectAgUi(db: pg.Pool, run: { id: string; conversation: string }): Promise<void> {
  const stored = await storedEvents(db, `conv_${run.conversation.replaceAll("-", "")}`);
  const own = stored.filter(
    (envelope) => envelope.runId !== null && uuidOf(envelope.runId) === run.id.replaceAll("-", ""),
  );
  for (const reader of ["all", "staff"] as const) {
    await verifyAgUi(own.map((envelope) => forAudience(envelope, reader).event));
  }
}

/** The rows that lists and search read say what the log says. */
async function expectMessages(db: pg.Pool, conversations: readonly string[]): Promise<void> {
  for (const conversation of conversations) {
    const id = `conv_${conversation.replaceAll("-", "")}`;
    const { messages } = reduce(initialState, await storedEvents(db, id));
    const { rows } = await db.query<{ id: string; text: string }>(
      "select 'msg_' || replace(id::text, '-', '') as id, text from messages where conversation_id = $1",
      [conversation],
    );
    const said = messages.filter(({ text }) => text !== "").map(({ id, text }) => [id, text]);
    expect(Object.fromEntries(rows.map(({ id, text }) => [id, text]))).toEqual(Object.fromEntries(said));
  }
}

export type ToolkitChoice = AgentConfig["toolkits"][number];

/** One operation for each effect, by the method that has it. */
export function shopToolkit(baseUrl: string, policy: Partial<ToolkitChoice> = {}): ToolkitChoice {
  const operation = (name: string, method: string) => ({
    name,
    description: `Does ${name}`,
    method,
    path: `/${name}`,
    parameters: { type: "object", properties: { value: { type: "string" } }, additionalProperties: false },
  });
  return {
    toolkit: "http",
    tools: {},
    defaultPolicy: "auto",
    settings: {
      name: "shop",
      baseUrl,
      timeoutMs: SILENCE_MS,
      operations: [operation("look", "GET"), operation("set", "PUT"), operation("send", "POST")],
    },
    ...policy,
  };
}

/** A model's step that calls one of the shop's tools. */
export function calls(name: "look" | "set" | "send", value: string) {
  return { kind: "toolCall" as const, name: `shop_${name}`, arguments: { value } };
}

export const says = (text: string) => ({ kind: "text" as const, text });

export interface InvocationRow {
  tool: string;
  effect: string;
  key: string;
  status: string;
  attempts: number;
  outcome: { status: string; content?: string; failure?: { code: string } } | null;
}

export interface Chat {
  conversationId: string;
  /** The visitor's context, and that of the customer's staff. */
  visitor: Ctx;
  staff: Ctx;
  /** Sends a message; every conversation's are told apart by a tag before them. */
  ask(text: string): Promise<Run>;
  /** The run, as staff see it, once it has ended or waits for a person. */
  settled(runId: string): Promise<Run>;
  ended(runId: string): Promise<Run>;
  /** `ask`, then `settled`. */
  answered(text: string): Promise<Run>;
  /** Decides the first interrupt of a waiting run, as staff. */
  resume(run: Run, decision: Decision, payload?: unknown): Promise<void>;
  /** The same; answers the run once it is settled again. */
  decide(run: Run, decision: Decision, payload?: unknown): Promise<Run>;
  /** Stops a run, as the visitor. */
  cancel(runId: string): Promise<Run>;
  state(reader: Audience): Promise<ConversationState>;
  /** What the assistant said and still stands. */
  texts(): Promise<string[]>;
  log(): Promise<StoredEnvelope[]>;
  events(runId: string): Promise<ConversationEvent[]>;
  invocations(runId: string): Promise<InvocationRow[]>;
  /** Model requests in answer to this conversation's message that begins like this. */
  requests(text: string): RecordedRequest[];
}

async function openChat(product: Product, tenant: TestTenant): Promise<Chat> {
  const { db, models } = product;
  const { ctx: staff } = tenant;
  const visitor = await visitorOf(tenant);
  const { id: conversationId } = await createConversation(visitor, {});
  const tag = conversationId.slice(-8);
  let messages = 0;
  const until = (runId: string, isMet: (run: Run) => boolean, what: string) =>
    waitFor(
      async () => {
        const run = await getRun(staff, runId);
        return isMet(run) ? run : null;
      },
      { describe: `${runId} ${what}` },
    );
  const chat: Chat = {
    conversationId,
    visitor,
    staff,
    ask: async (text) =>
      (await submit(visitor, { conversationId, clientMessageId: `m${++messages}`, text: `${tag} ${text}` })).run,
    settled: (runId) => until(runId, ({ status }) => status !== "queued" && status !== "running", "to end or wait"),
    ended: (runId) => until(runId, ({ finishedAt }) => finishedAt !== null, "to end"),
    answered: async (text) => chat.settled((await chat.ask(text)).id),
    async resume(run, decision, payload) {
      const [interrupt] = run.interrupts;
      if (!interrupt) throw new Error("the run waits for nothing");
      await resumeRun(staff, { runId: run.id, interruptId: interrupt.id, decision, payload });
    },
    async decide(run, decision, payload) {
      await chat.resume(run, decision, payload);
      const isAsked = ({ interrupts }: Run) => interrupts.length > 0 && !isSame(interrupts, run.interrupts);
      return until(run.id, (now) => now.finishedAt !== null || isAsked(now), `to go on after ${decision}`);
    },
    cancel: (runId) => cancelRun(visitor, runId),
    state: (reader) => conversationState(staff, { conversationId }, reader),
    texts: async () =>
      (await chat.state("all")).messages.filter(({ role }) => role === "assistant").map(({ text }) => text),
    log: () => storedEvents(db, conversationId),
    events: async (runId) =>
      (await chat.log()).filter((envelope) => envelope.runId === runId).map((envelope) => envelope.event),
    async invocations(runId) {
      const { rows } = await db.query<InvocationRow>(
        `select tool, effect, idempotency_key as key, status, attempts, outcome from tool_invocations
         where run_id = $1 order by step_index, call_index`,
        [uuidOf(runId)],
      );
      return rows;
    },
    requests: (text) =>
      models.requests.filter(({ body }) => lastUserTurn(body.messages).text.startsWith(`${tag} ${text}`)),
  };
  return chat;
}

function isSame(a: readonly Interrupt[], b: readonly Interrupt[]): boolean {
  return a.map(({ id }) => id).join() === b.map(({ id }) => id).join();
}
