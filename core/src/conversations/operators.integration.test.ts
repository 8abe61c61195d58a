import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  addWorker,
  ask,
  beginAnswer,
  eventNames,
  openSpine,
  openTenant,
  visitorOf,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import { violations } from "@agent-engine/testing/invariants.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { Ctx } from "../context.ts";
import { conversationState } from "../events/conversation-state.ts";
import { newId } from "../ids.ts";
import { getRun } from "../runs/get-run.ts";
import { startRun } from "../runs/start-run.ts";
import { createSchedule } from "../schedules/create-schedule.ts";
import { getSchedule } from "../schedules/get-schedule.ts";
import { startDueSchedules } from "../schedules/start-due-schedules.ts";
import { createConversation } from "./create-conversation.ts";
import { getConversation } from "./get-conversation.ts";
import { handBack } from "./hand-back.ts";
import { handOver } from "./hand-over.ts";
import { sendMessage } from "./send-message.ts";
import { sendOperatorMessage } from "./send-operator-message.ts";
import { takeOver } from "./take-over.ts";

let spine: Spine;
let tenant: TestTenant;
let worker: string;
let visitor: Ctx;
let conversationId: string;

beforeAll(async () => {
  spine = await openSpine();
  worker = await addWorker(spine);
});
afterAll(() => spine.close());
beforeEach(async () => {
  tenant = await openTenant(spine);
  visitor = await visitorOf(tenant);
  conversationId = (await createConversation(visitor, {})).id;
});

const say = (text: string, clientMessageId: string = newId("m")) =>
  sendMessage(visitor, { conversationId, clientMessageId, text });
const write = (text: string, more: { clientMessageId?: string; name?: string } = {}) =>
  sendOperatorMessage(tenant.ctx, { conversationId, text, ...more });
const take = (name = "Ada") => takeOver(tenant.ctx, { conversationId, name });
const seen = () => conversationState(visitor, { conversationId }, "all");

describe("a conversation that a person has taken over", () => {
  test("shows the visitor's messages and starts no run for them; the same one answers the same", async () => {
    expect(await take()).toMatchObject({ mode: "operator" });
    const rung = spine.rung.length;
    const sent = await say("Are you there?", "m-1");
    expect(sent).toMatchObject({ message: { text: "Are you there?", role: "user" }, run: null });
    expect(await say("Are you there?", "m-1")).toEqual(sent);
    await expect(say("Something else", "m-1")).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect(await seen()).toMatchObject({ mode: "operator", messages: [{ text: "Are you there?", runId: null }] });
    expect(spine.rung).toHaveLength(rung);
    const { rows } = await spine.owner.query("select from runs where conversation_id = $1", [
      conversationId.replace("conv_", ""),
    ]);
    expect(rows).toEqual([]);
  });

  test("takes forty messages at once while it is taken over: each has a run or is a person's, never both", async () => {
    const sending = Array.from({ length: 40 }, (_, index) => say(`message ${index}`));
    await take();
    const answers = await Promise.all(sending);
    const ofRuns = answers.flatMap(({ run }) => run?.id ?? []);
    for (const runId of ofRuns) expect((await getRun(tenant.ctx, runId)).status).toBe("cancelled");
    expect((await seen()).messages.filter(({ role }) => role === "user")).toHaveLength(40);
    expect(await violations(spine.owner)).toEqual([]);
  });

  test("cancels what the agent was doing, and keeps what it had said", async () => {
    const { run } = await ask(visitor, conversationId);
    const running = await work(spine, worker, run.id);
    await running.write(...beginAnswer(newId("msg"), "Half an ans"));
    const waiting = await ask(visitor, conversationId);
    await take();
    for (const { id } of [run, waiting.run]) {
      expect(await getRun(tenant.ctx, id)).toMatchObject({ status: "cancelled" });
    }
    await expect(running.write({ type: "STEP_STARTED", stepName: "late" })).rejects.toThrow("lease");
    const { messages } = await seen();
    expect(messages.find(({ role }) => role === "assistant")).toMatchObject({
      text: "Half an ans",
      status: "incomplete",
    });
    expect((await eventNames(spine, conversationId)).slice(-2)).toEqual(["conversation.mode", "operator.joined"]);
    expect(await violations(spine.owner)).toEqual([]);
  });

  test("is the person's who took it last; by the same one again nothing happens", async () => {
    await take();
    const once = await eventNames(spine, conversationId);
    await take();
    expect(await eventNames(spine, conversationId)).toEqual(once);
    await take("Bob");
    expect((await eventNames(spine, conversationId)).slice(once.length)).toEqual(["operator.left", "operator.joined"]);
  });

  test("hears the person under their name, once for an id", async () => {
    await take();
    const message = await write("Hello, I am Ada", { clientMessageId: "o-1", name: "Ada" });
    expect(message).toMatchObject({ role: "assistant", clientMessageId: "o-1" });
    expect(await write("Hello, I am Ada", { clientMessageId: "o-1", name: "Ada" })).toEqual(message);
    await expect(write("Else", { clientMessageId: "o-1" })).rejects.toMatchObject({ code: "idempotency_mismatch" });
    await expect(say("Hello, I am Ada", "o-1")).rejects.toMatchObject({ code: "idempotency_mismatch" });
    await write("And more");
    expect((await seen()).messages).toMatchObject([
      { role: "assistant", name: "Ada", text: "Hello, I am Ada", runId: null },
      { role: "assistant", name: "The team", text: "And more" },
    ]);
  });

  test("starts no run for partners either, nor what was scheduled", async () => {
    const { agentId } = tenant;
    const at = new Date(Date.now() + 3_600_000).toISOString();
    const { id } = await createSchedule(tenant.ctx, { agentId, conversationId, at, input: "later" });
    await take();
    const input = { agentId, conversationId, input: "now" };
    await expect(startRun(tenant.ctx, input)).rejects.toMatchObject({ code: "conflict" });
    await spine.owner.query("update schedules set try_at = now() - interval '1 second'");
    expect(await startDueSchedules(spine.services)).toBe(0);
    expect(await getSchedule(tenant.ctx, id)).toMatchObject({
      status: "cancelled",
      reason: expect.stringContaining("person"),
    });
  });

  test("is nobody else's to take, give or write in", async () => {
    const { ctx } = await openTenant(spine);
    const missing = { code: "not_found" };
    await expect(takeOver(ctx, { conversationId })).rejects.toMatchObject(missing);
    await expect(handBack(ctx, conversationId)).rejects.toMatchObject(missing);
    await expect(sendOperatorMessage(ctx, { conversationId, text: "hi" })).rejects.toMatchObject(missing);
  });
});

describe("given back", () => {
  test("the agent answers the next message; nobody writes in its place any more", async () => {
    await take();
    await say("Are you there?");
    expect(await handBack(tenant.ctx, conversationId)).toMatchObject({ mode: "agent" });
    expect((await eventNames(spine, conversationId)).slice(-2)).toEqual(["operator.left", "conversation.mode"]);
    await expect(write("hi")).rejects.toMatchObject({ code: "conflict" });
    const { run } = await ask(visitor, conversationId);
    await (await work(spine, worker, run.id)).complete();
    const before = await eventNames(spine, conversationId);
    await handBack(tenant.ctx, conversationId);
    expect(await eventNames(spine, conversationId)).toEqual(before);
  });
});

describe("an agent that hands over", () => {
  test("goes on to say so, while what waits behind it is for the team", async () => {
    const { run } = await ask(visitor, conversationId);
    const running = await work(spine, worker, run.id);
    const waiting = await ask(visitor, conversationId);
    const input = { conversationId, runId: run.id };
    expect(await handOver(tenant.ctx, input)).toEqual({ handedOver: true });
    expect(await handOver(tenant.ctx, input)).toEqual({ handedOver: true });
    expect(await getConversation(tenant.ctx, conversationId)).toMatchObject({ mode: "operator" });
    expect(await getRun(tenant.ctx, waiting.run.id)).toMatchObject({ status: "cancelled" });
    await running.write(...beginAnswer(newId("msg"), "A person will answer."));
    await running.write({ type: "TEXT_MESSAGE_END", messageId: (await seen()).messages.at(-1)?.id ?? "" });
    await running.write({ type: "STEP_FINISHED", stepName: "step-0" });
    await running.complete();
    expect(await getRun(tenant.ctx, run.id)).toMatchObject({ status: "completed" });
    expect((await say("Thanks")).run).toBeNull();
    // Nobody had taken it: now somebody does.
    await take();
    expect((await eventNames(spine, conversationId)).at(-1)).toBe("operator.joined");
    expect(await violations(spine.owner)).toEqual([]);
  });

  test("does so only while its run is under way", async () => {
    const { run } = await ask(visitor, conversationId);
    await (await work(spine, worker, run.id)).complete();
    await expect(handOver(tenant.ctx, { conversationId, runId: run.id })).rejects.toMatchObject({ code: "conflict" });
  });
});
