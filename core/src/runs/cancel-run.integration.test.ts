import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forAudience } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { storedEvents, violations } from "@agent-engine/testing/invariants.ts";
import {
  addWorker,
  ask,
  beginAnswer,
  claimFor,
  doorbellOf,
  eventNames,
  jobsOf,
  openSpine,
  openTenant,
  startConversation,
  visitorOf,
  work,
  workOn,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { ControlMessage } from "../events/bus.ts";
import { conversationState } from "../events/conversation-state.ts";
import { newId } from "../ids.ts";
import { cancelRun } from "./cancel-run.ts";
import { claimRun } from "./claim-run.ts";
import { getRun } from "./get-run.ts";
import { resumeRun } from "./resume-run.ts";

let spine: Spine;
let tenant: TestTenant;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  worker = await addWorker(spine);
});
afterAll(() => spine.close());

async function queued() {
  const conversationId = await startConversation(tenant);
  const { run } = await ask(tenant.ctx, conversationId);
  return { conversationId, runId: run.id };
}

const rungFor = (runId: string) => spine.rung.filter((doorbell) => doorbell.runId === runId);

/** What the run wrote after the visitor's message, as names; both readers must be able to read it as AG-UI. */
async function written(conversationId: string, runId: string): Promise<string[]> {
  const mine = (await storedEvents(spine.owner, conversationId)).filter((envelope) => envelope.runId === runId);
  for (const reader of ["all", "staff"] as const) {
    await verifyAgUi(mine.map((envelope) => forAudience(envelope, reader).event));
  }
  return (await eventNames(spine, conversationId, runId)).slice(3);
}

const ENDED = { status: "cancelled", finishReason: "cancelled", error: null, finishedAt: expect.any(String) };

describe("a run that is", () => {
  test("queued: begins only to be ended, and its doorbell opens nothing any more", async () => {
    const { conversationId, runId } = await queued();
    const doorbell = await doorbellOf(spine, runId);
    expect(await cancelRun(tenant.ctx, runId)).toMatchObject(ENDED);
    expect(await written(conversationId, runId)).toEqual(["RUN_STARTED", "RUN_FINISHED cancelled"]);
    expect(await jobsOf(spine, runId)).toEqual([{ handOver: 1, state: "done" }]);
    expect(await claimRun(spine.services, doorbell, worker)).toBeNull();
  });

  test("queued before another: the other goes", async () => {
    const { conversationId, runId } = await queued();
    const { run: next } = await ask(tenant.ctx, conversationId);
    const { run: last } = await ask(tenant.ctx, conversationId);
    await cancelRun(tenant.ctx, runId);
    expect(await jobsOf(spine, next.id)).toEqual([{ handOver: 1, state: "dispatched" }]);
    expect(rungFor(next.id)).toHaveLength(1);
    expect(await jobsOf(spine, last.id)).toEqual([{ handOver: 1, state: "blocked" }]);
  });

  test("blocked behind another: the one before it is not touched, the one behind it keeps its place", async () => {
    const { conversationId, runId } = await queued();
    const { run: middle } = await ask(tenant.ctx, conversationId);
    const { run: last } = await ask(tenant.ctx, conversationId);
    const running = await work(spine, worker, runId);
    await cancelRun(tenant.ctx, middle.id);
    expect(await jobsOf(spine, last.id)).toEqual([{ handOver: 1, state: "blocked" }]);
    await running.complete();
    expect(rungFor(middle.id)).toEqual([]);
    expect(rungFor(last.id)).toHaveLength(1);
  });

  test("running, mid-sentence: what was said stays, marked incomplete, and the next run goes", async () => {
    const { conversationId, runId } = await queued();
    const { run: next } = await ask(tenant.ctx, conversationId);
    const running = await work(spine, worker, runId);
    const messageId = newId("msg");
    await running.write(...beginAnswer(messageId, "At nine"));
    await cancelRun(tenant.ctx, runId);
    expect(await written(conversationId, runId)).toEqual([
      ...["RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"],
      ...["TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_FINISHED cancelled"],
    ]);
    const state = await conversationState(tenant.ctx, { conversationId }, "all");
    expect(state.messages.at(-1)).toMatchObject({ id: messageId, text: "At nine", status: "incomplete" });
    const { rows } = await spine.owner.query("select role, text from messages where run_id = $1 order by role", [
      runId.slice(4),
    ]);
    expect(rows).toEqual([
      { role: "assistant", text: "At nine" },
      { role: "user", text: "When do you open?" },
    ]);
    expect(rungFor(next.id)).toHaveLength(1);
    expect(running.log.lost).toBeNull();
    await expect(running.write({ type: "STEP_FINISHED", stepName: "step-0" })).rejects.toThrow("lease");
  });

  test("running, with reasoning and a tool call open: everything is closed, the call answered, for each reader", async () => {
    const { conversationId, runId } = await queued();
    const running = await work(spine, worker, runId);
    const [reasoning, call] = [newId("msg"), newId("call")];
    running.log.emit({ type: "STEP_STARTED", stepName: "step-0" });
    running.log.emit({ type: "TOOL_CALL_START", toolCallId: call, toolCallName: "look_up" });
    running.log.emit({ type: "TOOL_CALL_ARGS", toolCallId: call, delta: "{" }, "staff");
    running.log.emit({ type: "REASONING_START", messageId: reasoning }, "staff");
    running.log.emit({ type: "REASONING_MESSAGE_START", messageId: reasoning, role: "reasoning" }, "staff");
    await running.log.flush();
    await cancelRun(tenant.ctx, runId);
    expect((await written(conversationId, runId)).slice(-6)).toEqual([
      ...["REASONING_MESSAGE_END", "REASONING_END", "TOOL_CALL_END", "TOOL_CALL_RESULT", "STEP_FINISHED"],
      "RUN_FINISHED cancelled",
    ]);
  });

  test("claimed, and nothing written yet: it starts before it ends", async () => {
    const { conversationId, runId } = await queued();
    const claim = await claimFor(spine, worker, runId);
    await cancelRun(tenant.ctx, runId);
    expect(await written(conversationId, runId)).toEqual(["RUN_STARTED", "RUN_FINISHED cancelled"]);
    await expect(workOn(spine, claim).write({ type: "RUN_STARTED", threadId: "", runId })).rejects.toThrow("lease");
  });

  test.each(["approval", "operator"] as const)("waiting (%s): it starts once more to be ended", async (reason) => {
    const { conversationId, runId } = await queued();
    await (await work(spine, worker, runId)).wait({ reason });
    expect(await cancelRun(tenant.ctx, runId)).toMatchObject({ ...ENDED, interrupts: [] });
    expect(await written(conversationId, runId)).toEqual([
      ...["RUN_STARTED", "RUN_FINISHED interrupt", "RUN_STARTED", "RUN_FINISHED cancelled"],
    ]);
  });

  test.each(["rung", "claimed"])("resumed and %s, and nothing written yet", async (progress) => {
    const { conversationId, runId } = await queued();
    const { id } = await (await work(spine, worker, runId)).wait({ reason: "operator" });
    await resumeRun(tenant.ctx, { runId, interruptId: id, decision: "retry" });
    const doorbell = await doorbellOf(spine, runId);
    if (progress === "claimed") await claimFor(spine, worker, runId);
    expect(await cancelRun(tenant.ctx, runId)).toMatchObject(ENDED);
    expect(await written(conversationId, runId)).toEqual([
      ...["RUN_STARTED", "RUN_FINISHED interrupt", "run.resumed", "RUN_STARTED", "RUN_FINISHED cancelled"],
    ]);
    expect(await claimRun(spine.services, doorbell, worker)).toBeNull();
  });

  test("over: it is answered as it ended, and nothing is written", async () => {
    const { conversationId, runId } = await queued();
    await (await work(spine, worker, runId)).complete();
    const before = await getRun(tenant.ctx, runId);
    expect(await cancelRun(tenant.ctx, runId)).toEqual(before);
    expect(await written(conversationId, runId)).toEqual(["RUN_STARTED", "RUN_FINISHED success"]);
    const other = await queued();
    const cancelled = await cancelRun(tenant.ctx, other.runId);
    expect(await cancelRun(tenant.ctx, other.runId)).toEqual(cancelled);
  });
});

test("the worker is told, after the commit", async () => {
  const { runId } = await queued();
  const told: ControlMessage[] = [];
  const leave = await spine.services.bus.control.subscribe((message) => told.push(message));
  await work(spine, worker, runId);
  await cancelRun(tenant.ctx, runId);
  leave();
  expect(told).toEqual([{ kind: "run.cancelled", runId }]);
});

test("a visitor cancels their own run, and nobody else's", async () => {
  const [ada, bob] = [await visitorOf(tenant), await visitorOf(tenant)];
  const { run } = await ask(ada, await startConversation({ ...tenant, ctx: ada }));
  await expect(cancelRun(bob, run.id)).rejects.toMatchObject({ code: "not_found" });
  expect(await getRun(ada, run.id)).toMatchObject({ status: "queued" });
  expect(await cancelRun(ada, run.id)).toMatchObject(ENDED);
  for (const id of [newId("run"), "run_1", newId("conv")]) {
    await expect(cancelRun(tenant.ctx, id)).rejects.toMatchObject({ code: "not_found" });
  }
});

describe("at the same moment as", () => {
  const isEnd = (name: string) => name === "RUN_FINISHED cancelled" || name === "RUN_FINISHED success";

  test("19 others: one cancellation, one answer", async () => {
    const { conversationId, runId } = await queued();
    const running = await work(spine, worker, runId);
    await running.write(...beginAnswer(newId("msg")));
    const answers = await Promise.all(Array.from({ length: 20 }, () => cancelRun(tenant.ctx, runId)));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect((await written(conversationId, runId)).filter(isEnd)).toEqual(["RUN_FINISHED cancelled"]);
  });

  test("the run's end: exactly one of the two happens, and everyone is told the same", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        const { conversationId, runId } = await queued();
        const running = await work(spine, worker, runId);
        const complete = () =>
          running.complete().then(
            () => "success",
            () => "cancelled",
          );
        // A few in each order, one after the other; the rest at once.
        if (index < 2) await cancelRun(tenant.ctx, runId);
        const completing = complete();
        if (index >= 10) await completing;
        await cancelRun(tenant.ctx, runId);
        const ended = await completing;
        const { status } = await getRun(tenant.ctx, runId);
        expect(status).toBe(ended === "success" ? "completed" : "cancelled");
        expect((await written(conversationId, runId)).filter(isEnd)).toEqual([`RUN_FINISHED ${ended}`]);
        return ended;
      }),
    );
    expect(outcomes.slice(0, 2)).toEqual(["cancelled", "cancelled"]);
    expect(outcomes.slice(10)).toEqual(["success", "success"]);
  });

  test("its claim: the worker gets a run that ends under it, or none", async () => {
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        const { conversationId, runId } = await queued();
        const doorbell = await doorbellOf(spine, runId);
        const [claim] = await Promise.all([claimRun(spine.services, doorbell, worker), cancelRun(tenant.ctx, runId)]);
        if (claim) {
          const late: ConversationEvent = { type: "RUN_STARTED", threadId: conversationId, runId };
          await expect(workOn(spine, claim).write(late)).rejects.toThrow("lease");
        }
        expect(await written(conversationId, runId)).toEqual(["RUN_STARTED", "RUN_FINISHED cancelled"]);
      }),
    );
  });
});

test("and through all of this every log ends as its run's row says", async () => {
  const found = await violations(spine.owner);
  expect(found.filter(({ detail }) => !/^still (queued|running)$/.test(detail))).toEqual([]);
});

test("a write that was sent and not answered stays open; what was never sent, or only read, does not", async () => {
  const { runId } = await queued();
  await work(spine, worker, runId);
  await spine.owner.query(
    `insert into steps (run_id, step_index, tenant_id, key, status) values ($1, 0, $2, $3, 'tools')`,
    [runId.slice(4), tenant.id.slice(7), `${runId}:0`],
  );
  const calls: [effect: string, status: string][] = [
    ["write", "started"],
    ["write", "intended"],
    ["read", "started"],
  ];
  for (const [index, [effect, status]] of calls.entries()) {
    await spine.owner.query(
      `insert into tool_invocations
         (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments, status)
       values ($1, $2, $3, 0, $4, $5, 'mail', $6, '{}', $7)`,
      [`${runId}:${index}`, tenant.id.slice(7), runId.slice(4), index, `call_${index}`, effect, status],
    );
  }
  await cancelRun(tenant.ctx, runId);
  const { rows } = await spine.owner.query(
    "select status from tool_invocations where run_id = $1 order by call_index",
    [runId.slice(4)],
  );
  expect(rows.map(({ status }) => status)).toEqual(["outcome_unknown", "intended", "started"]);
  expect(await getRun(tenant.ctx, runId)).toMatchObject(ENDED);
});
