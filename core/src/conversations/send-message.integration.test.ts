import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DoubleSendPolicy } from "@agent-engine/protocol/resources.ts";
import { storedEvents } from "@agent-engine/testing/invariants.ts";
import {
  addWorker,
  ask,
  beginAnswer,
  eventNames,
  jobsOf,
  openSpine,
  openTenant,
  startConversation,
  visitorOf,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { publishAgent } from "../agents/publish-agent.ts";
import { updateAgent } from "../agents/update-agent.ts";
import type { PublishedBatch } from "../events/bus.ts";
import { conversationState } from "../events/conversation-state.ts";
import { idempotent } from "../idempotency/idempotent.ts";
import { newId, uuidOf } from "../ids.ts";
import { getRun } from "../runs/get-run.ts";
import { startRun } from "../runs/start-run.ts";
import { submit } from "@agent-engine/testing/submit.ts";

let spine: Spine;
let tenant: TestTenant;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  worker = await addWorker(spine);
});
afterAll(() => spine.close());

const rungFor = (runId: string) => spine.rung.filter((doorbell) => doorbell.runId === runId);

/** How many rows a conversation has of what a message leaves behind. */
async function leftBehind(conversationId: string) {
  const { rows } = await spine.owner.query<{
    messages: number;
    runs: number;
    events: number;
    jobs: number;
    head: number;
  }>(
    `select (select count(*)::int from messages where conversation_id = $1) as messages,
       (select count(*)::int from runs where conversation_id = $1) as runs,
       (select count(*)::int from events where conversation_id = $1) as events,
       (select count(*)::int from jobs j join runs r on r.id = j.run_id where r.conversation_id = $1) as jobs,
       (select last_seq::int from conversation_heads where conversation_id = $1) as head`,
    [uuidOf(conversationId)],
  );
  return rows[0];
}

describe("a message", () => {
  test("becomes a message, a run, three events and a doorbell; readers hear of it after the commit", async () => {
    const conversationId = await startConversation(tenant);
    const published: PublishedBatch[] = [];
    const { leave } = spine.services.bus.subscribe(conversationId, (batch) => published.push(batch));
    const ctx = { ...tenant.ctx, correlationId: "c-1" };
    const { message, run } = await submit(ctx, { conversationId, clientMessageId: "m", text: "  Hello? \n" });
    leave();

    expect(message).toEqual({
      id: expect.stringMatching(/^msg_[0-9a-f]{32}$/),
      conversationId,
      clientMessageId: "m",
      role: "user",
      text: "  Hello? \n",
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect(run).toEqual({
      id: expect.stringMatching(/^run_[0-9a-f]{32}$/),
      conversationId,
      agentId: tenant.agentId,
      status: "queued",
      interrupts: [],
      attempt: 0,
      usage: [],
      finishReason: null,
      error: null,
      createdAt: expect.any(String),
      finishedAt: null,
    });
    const stored = await storedEvents(spine.owner, conversationId);
    expect(stored.map(({ seq, runId, correlationId, event }) => [seq, runId, correlationId, event])).toEqual([
      [1, run.id, "c-1", { type: "TEXT_MESSAGE_START", messageId: message.id, role: "user" }],
      [2, run.id, "c-1", { type: "TEXT_MESSAGE_CONTENT", messageId: message.id, delta: "  Hello? \n" }],
      [3, run.id, "c-1", { type: "TEXT_MESSAGE_END", messageId: message.id }],
    ]);
    expect(published).toEqual([{ conversationId, tenantId: tenant.id, events: stored }]);
    expect(await jobsOf(spine, run.id)).toEqual([{ handOver: 1, state: "dispatched" }]);
    expect(rungFor(run.id)).toEqual([{ runId: run.id, handOver: 1, correlationId: "c-1", queueClass: "priority" }]);
  });

  test.each(["a message of its own", "a message among others"])(
    "leaves nothing when its last write fails: %s",
    async (which) => {
      const conversationId = await startConversation(tenant);
      if (which === "a message among others") await ask(tenant.ctx, conversationId);
      const before = await leftBehind(conversationId);
      const rungBefore = spine.rung.length;
      const published: PublishedBatch[] = [];
      const { leave } = spine.services.bus.subscribe(conversationId, (batch) => published.push(batch));
      // The doorbell's record is the last thing written.
      await spine.owner.query("alter table jobs add constraint boom check (correlation_id <> 'boom') not valid");
      try {
        await expect(ask({ ...tenant.ctx, correlationId: "boom" }, conversationId)).rejects.toThrow("boom");
      } finally {
        await spine.owner.query("alter table jobs drop constraint boom");
      }
      leave();
      expect(await leftBehind(conversationId)).toEqual(before);
      expect(published).toEqual([]);
      expect(spine.rung).toHaveLength(rungBefore);
      await ask(tenant.ctx, conversationId);
    },
  );

  test("is gone with the transaction around it, and nobody hears of it", async () => {
    const conversationId = await startConversation(tenant);
    const before = await leftBehind(conversationId);
    const rungBefore = spine.rung.length;
    const failing = idempotent(
      tenant.ctx,
      { key: newId("key"), route: "POST /test", body: {}, status: 202 },
      async (ctx) => {
        await ask(ctx, conversationId);
        throw new Error("after the message");
      },
    );
    await expect(failing).rejects.toThrow("after the message");
    expect(await leftBehind(conversationId)).toEqual(before);
    expect(spine.rung).toHaveLength(rungBefore);
  });
});

describe("the same clientMessageId", () => {
  test("50 times in parallel is one message, one run and one answer", async () => {
    const conversationId = await startConversation(tenant);
    const ctx = await visitorOf(tenant);
    const own = await startConversation({ ...tenant, ctx });
    for (const [id, asWhom] of [
      [conversationId, tenant.ctx],
      [own, ctx],
    ] as const) {
      const send = () => submit(asWhom, { conversationId: id, clientMessageId: "same", text: "hi" });
      const answers = await Promise.all(Array.from({ length: 50 }, send));
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect(await leftBehind(id)).toEqual({ messages: 1, runs: 1, events: 3, jobs: 1, head: 3 });
      expect(rungFor(answers[0]?.run.id ?? "")).toHaveLength(1);
    }
  });

  test("with another text is refused, whoever was first", async () => {
    const conversationId = await startConversation(tenant);
    const texts = ["one", "two", "three"];
    const answers = await Promise.allSettled(
      texts.map((text) => submit(tenant.ctx, { conversationId, clientMessageId: "same", text })),
    );
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "idempotency_mismatch" });
    }
    expect(await leftBehind(conversationId)).toMatchObject({ messages: 1, runs: 1 });
  });

  test("answers the same after the run has ended, and belongs to its conversation alone", async () => {
    const conversationId = await startConversation(tenant);
    const send = (id: string) => submit(tenant.ctx, { conversationId: id, clientMessageId: "same", text: "hi" });
    const first = await send(conversationId);
    await (await work(spine, worker, first.run.id)).complete();
    const again = await send(conversationId);
    expect(again.message).toEqual(first.message);
    expect(again.run).toMatchObject({ id: first.run.id, status: "completed" });
    const elsewhere = await send(await startConversation(tenant));
    expect(elsewhere.run.id).not.toBe(first.run.id);
  });

  test("shows a visitor no more of a waiting run than the run itself does", async () => {
    const ctx = await visitorOf(tenant);
    const conversationId = await startConversation({ ...tenant, ctx });
    const send = () => submit(ctx, { conversationId, clientMessageId: "same", text: "hi" });
    const { run } = await send();
    await (await work(spine, worker, run.id)).wait({ reason: "operator", metadata: { code: "secret" } });
    const again = await send();
    expect(again.run.status).toBe("waiting");
    expect(JSON.stringify(again)).not.toContain("secret");
  });
});

describe("a message while a run is under way", () => {
  async function busy(doubleSend: DoubleSendPolicy) {
    const other = await openTenant(spine, { doubleSend });
    const conversationId = await startConversation(other);
    const { run } = await ask(other.ctx, conversationId);
    return { ...other, conversationId, running: await work(spine, worker, run.id) };
  }

  test("queue: its run waits, unrung, and goes when the one before ends; in order", async () => {
    const { ctx, conversationId, running } = await busy("queue");
    const second = await ask(ctx, conversationId);
    const third = await ask(ctx, conversationId);
    expect(await jobsOf(spine, second.run.id)).toEqual([{ handOver: 1, state: "blocked" }]);
    expect(await jobsOf(spine, third.run.id)).toEqual([{ handOver: 1, state: "blocked" }]);
    expect(rungFor(second.run.id)).toEqual([]);
    await running.complete();
    expect(rungFor(second.run.id)).toHaveLength(1);
    expect(rungFor(third.run.id)).toEqual([]);
    await (await work(spine, worker, second.run.id)).complete();
    expect(rungFor(third.run.id)).toHaveLength(1);
  });

  test("interrupt: the running one is cancelled with its brackets closed, the new one starts", async () => {
    const { ctx, conversationId, running } = await busy("interrupt");
    await running.write(...beginAnswer("msg_00000000000000000000000000000001"));
    const { run } = await ask(ctx, conversationId);
    expect(await getRun(ctx, running.claim.runId)).toMatchObject({ status: "cancelled", finishReason: "cancelled" });
    expect((await eventNames(spine, conversationId)).slice(3)).toEqual([
      ...["RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"],
      ...["TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_FINISHED cancelled"],
      ...["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"],
    ]);
    expect(rungFor(run.id)).toHaveLength(1);
    await expect(running.write({ type: "STEP_STARTED", stepName: "late" })).rejects.toThrow("lease");
  });

  test("reject: it is refused with the run in the way, and nothing is stored", async () => {
    const { ctx, conversationId, running } = await busy("reject");
    const before = await leftBehind(conversationId);
    await expect(ask(ctx, conversationId)).rejects.toMatchObject({
      code: "run_active",
      extra: { runId: running.claim.runId },
    });
    expect(await leftBehind(conversationId)).toEqual(before);
    await running.complete();
    await ask(ctx, conversationId);
  });

  test("interrupt: runs that are only queued are cancelled too, in their order; none of them is rung", async () => {
    const other = await openTenant(spine, { doubleSend: "queue" });
    const { ctx, agentId } = other;
    const conversationId = await startConversation(other);
    const { run: first } = await ask(ctx, conversationId);
    const running = await work(spine, worker, first.id);
    await running.write(...beginAnswer(newId("msg"), "Half an ans"));
    const { run: second } = await ask(ctx, conversationId);
    const { run: third } = await ask(ctx, conversationId);
    await updateAgent(ctx, { agentId, config: { doubleSend: "interrupt" } });
    await publishAgent(ctx, agentId);
    const { run: last } = await ask(ctx, conversationId);
    const ends = (await storedEvents(spine.owner, conversationId)).flatMap(({ event, runId }) =>
      event.type === "RUN_FINISHED" ? [runId] : [],
    );
    expect(ends).toEqual([first.id, second.id, third.id]);
    expect([rungFor(second.id), rungFor(third.id)]).toEqual([[], []]);
    expect(rungFor(last.id)).toHaveLength(1);
    const { messages } = await conversationState(ctx, { conversationId }, "all");
    expect(messages.filter(({ role }) => role === "assistant")).toMatchObject([
      { text: "Half an ans", status: "incomplete" },
    ]);
  });

  test("reject: a run that is only queued is in the way as well", async () => {
    const other = await openTenant(spine, { doubleSend: "reject" });
    const conversationId = await startConversation(other);
    const { run } = await ask(other.ctx, conversationId);
    await expect(ask(other.ctx, conversationId)).rejects.toMatchObject({
      code: "run_active",
      extra: { runId: run.id },
    });
  });

  describe("twenty at once in a conversation where nothing is under way", () => {
    const twenty = async (doubleSend: DoubleSendPolicy) => {
      const other = await openTenant(spine, { doubleSend });
      const conversationId = await startConversation(other);
      const answers = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) => ask(other.ctx, conversationId, `message ${index}`)),
      );
      const taken = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value.run.id] : []));
      const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as unknown] : []));
      const stored = await storedEvents(spine.owner, conversationId);
      // By their place in the log, which is the order in which they were taken.
      const order = stored.flatMap(({ event, runId }) => (event.type === "TEXT_MESSAGE_START" ? [runId] : []));
      const ends = stored.flatMap(({ event, runId }) => (event.type === "RUN_FINISHED" ? [runId] : []));
      expect(new Set(order)).toEqual(new Set(taken));
      const rung = order.filter((runId) => rungFor(runId ?? "").length > 0);
      const statuses = await Promise.all(order.map(async (runId) => (await getRun(other.ctx, runId ?? "")).status));
      return { ...other, conversationId, order: order as string[], refused, ends, rung, statuses };
    };

    test("queue: all are taken, one goes, and each goes when the one before it ends", async () => {
      const { order, refused, ends, rung, statuses } = await twenty("queue");
      expect([order.length, refused.length, ends.length]).toEqual([20, 0, 0]);
      expect(rung).toEqual([order[0]]);
      expect(new Set(statuses)).toEqual(new Set(["queued"]));
      for (const [index, runId] of order.entries()) {
        expect(rungFor(order[index + 1] ?? "")).toEqual([]);
        await (await work(spine, worker, runId)).complete();
      }
    });

    test("interrupt: all are taken, the last one goes, and the others were cancelled in their order", async () => {
      const { order, refused, ends, statuses } = await twenty("interrupt");
      expect([order.length, refused.length]).toEqual([20, 0]);
      expect(ends).toEqual(order.slice(0, -1));
      expect(statuses).toEqual([...Array<string>(19).fill("cancelled"), "queued"]);
      expect(await jobsOf(spine, order.at(-1) ?? "")).toEqual([{ handOver: 1, state: "dispatched" }]);
    });

    test("reject: one is taken, and nineteen are told which", async () => {
      const { order, refused, rung, statuses } = await twenty("reject");
      expect([order.length, refused.length]).toEqual([1, 19]);
      for (const problem of refused) {
        expect(problem).toMatchObject({ code: "run_active", extra: { runId: order[0] } });
      }
      expect(rung).toEqual(order);
      expect(statuses).toEqual(["queued"]);
    });
  });

  test.each(["queue", "interrupt", "reject"] as const)(
    "%s: a run that waits for an operator makes way",
    async (policy) => {
      const { ctx, conversationId, running } = await busy(policy);
      await running.wait({ reason: "operator" });
      const { run } = await ask(ctx, conversationId);
      expect(await getRun(ctx, running.claim.runId)).toMatchObject({ status: "cancelled", interrupts: [] });
      expect(rungFor(run.id)).toHaveLength(1);
      expect((await eventNames(spine, conversationId, running.claim.runId)).slice(-3)).toEqual([
        "RUN_FINISHED interrupt",
        "RUN_STARTED",
        "RUN_FINISHED cancelled",
      ]);
    },
  );

  test("queue: a run that waits for the visitor's approval does not", async () => {
    const { ctx, conversationId, running } = await busy("queue");
    await running.wait({ reason: "approval" });
    const { run } = await ask(ctx, conversationId);
    expect(await getRun(ctx, running.claim.runId)).toMatchObject({ status: "waiting" });
    expect(await jobsOf(spine, run.id)).toEqual([{ handOver: 1, state: "blocked" }]);
  });

  test("queue: nobody is stuck behind a run that comes to wait for an operator later", async () => {
    const { ctx, conversationId, running } = await busy("queue");
    const { run } = await ask(ctx, conversationId);
    await running.wait({ reason: "operator" });
    expect(await getRun(ctx, running.claim.runId)).toMatchObject({ status: "cancelled" });
    expect(rungFor(run.id)).toHaveLength(1);
    expect((await eventNames(spine, conversationId, running.claim.runId)).slice(-3)).toEqual([
      "RUN_FINISHED interrupt",
      "RUN_STARTED",
      "RUN_FINISHED cancelled",
    ]);
  });
});

describe("who may write where", () => {
  test("a visitor writes in their own conversations and in nobody else's", async () => {
    const [ada, bob] = [await visitorOf(tenant), await visitorOf(tenant)];
    const conversationId = await startConversation({ ...tenant, ctx: ada });
    await ask(ada, conversationId);
    const before = await leftBehind(conversationId);
    await expect(ask(bob, conversationId)).rejects.toMatchObject({ code: "not_found" });
    expect(await leftBehind(conversationId)).toEqual(before);
    await ask(tenant.ctx, conversationId);
  });

  test.each([
    "",
    "conv_",
    "conv_1",
    "run_00000000000000000000000000000001",
    "conv_0000000000000000000000000000000G",
    newId("conv"),
  ])("%j is no conversation", async (conversationId) => {
    await expect(ask(tenant.ctx, conversationId)).rejects.toMatchObject({ code: "not_found" });
  });

  test("an agent that is not published takes no message, and says so", async () => {
    const other = await openTenant(spine);
    const conversationId = await startConversation(other);
    await spine.owner.query("update agents set published_version = null where tenant_id = $1", [uuidOf(other.id)]);
    await expect(ask(other.ctx, conversationId)).rejects.toMatchObject({ code: "conflict" });
    expect(await leftBehind(conversationId)).toMatchObject({ messages: 0, head: 0 });
    await expect(startConversation(other)).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("a partner's run", () => {
  test("has a conversation of its own, or is the next message of one", async () => {
    const { ctx, agentId } = tenant;
    const first = await startRun(ctx, { agentId, input: "hi", queueClass: "standard" });
    expect(first.message).toMatchObject({ clientMessageId: null, text: "hi" });
    expect(rungFor(first.run.id)).toMatchObject([{ queueClass: "standard" }]);
    const second = await startRun(ctx, { agentId, input: "and", conversationId: first.run.conversationId });
    expect(second.run.conversationId).toBe(first.run.conversationId);
    expect(await jobsOf(spine, second.run.id)).toEqual([{ handOver: 1, state: "blocked" }]);
  });

  test("is refused in another agent's conversation, and leaves no conversation behind when it fails", async () => {
    const { ctx, agentId } = tenant;
    const other = await openTenant(spine);
    const { run } = await startRun(ctx, { agentId, input: "hi" });
    const { rows } = await spine.owner.query<{ id: string }>(
      `insert into agents (id, tenant_id, name, draft, published_version) select gen_random_uuid(), tenant_id, 'B', draft, 1
       from agents where id = $1 returning replace(id::text, '-', '') as id`,
      [uuidOf(agentId)],
    );
    const wrong = { agentId: `agent_${rows[0]?.id}`, input: "hi", conversationId: run.conversationId };
    await expect(startRun(ctx, wrong)).rejects.toMatchObject({ code: "invalid_request" });
    await spine.owner.query("alter table jobs add constraint boom check (correlation_id <> 'boom') not valid");
    try {
      const failing = startRun({ ...other.ctx, correlationId: "boom" }, { agentId: other.agentId, input: "hi" });
      await expect(failing).rejects.toThrow("boom");
    } finally {
      await spine.owner.query("alter table jobs drop constraint boom");
    }
    const { rows: conversations } = await spine.owner.query("select from conversations where tenant_id = $1", [
      uuidOf(other.id),
    ]);
    expect(conversations).toHaveLength(0);
  });
});
