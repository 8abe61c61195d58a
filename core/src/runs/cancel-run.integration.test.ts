import fc from "fast-check";
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
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { ControlMessage } from "../events/bus.ts";
import { conversationState } from "../events/conversation-state.ts";
import { newId } from "../ids.ts";
import { cancelRun } from "./cancel-run.ts";
import { claimRun } from "./claim-run.ts";
import { getRun } from "./get-run.ts";
import { listRuns } from "./list-runs.ts";
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
        if (claim && claim.kind !== "suspect") {
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

/** A run of one recorded step with these calls. */
async function withCalls(runId: string, calls: readonly [effect: string, status: string, more?: string][]) {
  await spine.owner.query(
    `insert into steps (run_id, step_index, tenant_id, key, status, usage) values ($1, 0, $2, $3, 'tools', $4)`,
    [
      runId.slice(4),
      tenant.id.slice(7),
      `${runId}:0`,
      JSON.stringify([{ provider: "openai", model: "m", inputTokens: 7, outputTokens: 3, totalTokens: 10 }]),
    ],
  );
  for (const [index, [effect, status, outcome]] of calls.entries()) {
    await spine.owner.query(
      `insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect,
         arguments, status, attempts, toolkit, host, outcome, started_at)
       values ($1, $2, $3, 0, $4, $5, 'mail', $6, '{"to":"ada"}', $7, 1, 'post', 'mail.example', $8, '2026-01-01')`,
      [
        `${runId}:${index}`,
        tenant.id.slice(7),
        runId.slice(4),
        index,
        `call_${index}`,
        effect,
        status,
        outcome ?? null,
      ],
    );
  }
}

const statusesOf = async (runId: string) =>
  (
    await spine.owner.query<{ status: string }>(
      "select status from tool_invocations where run_id = $1 order by call_index",
      [runId.slice(4)],
    )
  ).rows.map(({ status }) => status);

test("a write that was sent and not answered stays open; what was never sent, or only read, does not", async () => {
  const { runId } = await queued();
  await work(spine, worker, runId);
  await withCalls(runId, [
    ["write", "started"],
    ["write", "intended"],
    ["read", "started"],
  ]);
  await cancelRun(tenant.ctx, runId);
  expect(await statusesOf(runId)).toEqual(["outcome_unknown", "intended", "started"]);
  expect(await getRun(tenant.ctx, runId)).toMatchObject(ENDED);
});

test("what its finished steps have used is on record", async () => {
  const { conversationId, runId } = await queued();
  await work(spine, worker, runId);
  await withCalls(runId, []);
  const usage = [{ provider: "openai", model: "m", inputTokens: 7, outputTokens: 3, totalTokens: 10 }];
  expect(await cancelRun(tenant.ctx, runId)).toMatchObject({ ...ENDED, usage });
  expect((await storedEvents(spine.owner, conversationId)).at(-1)?.event).toMatchObject({
    type: "RUN_FINISHED",
    usage,
  });
});

describe("a write left open by a run that has ended", () => {
  const UNKNOWN = JSON.stringify({
    status: "outcome_unknown",
    failure: { kind: "unknown_outcome", code: "timeout", detail: "silence", requestId: "req_7", retryAfterMs: null },
    interruptId: "int_00000000000000000000000000000007",
  });
  const cancelledMidway = async (calls: readonly [string, string, string?][] = [["write", "started"]]) => {
    const visitor = await visitorOf(tenant);
    const conversationId = await startConversation({ ...tenant, ctx: visitor });
    const { run } = await ask(visitor, conversationId);
    await work(spine, worker, run.id);
    await withCalls(run.id, calls);
    return { visitor, conversationId, runId: run.id, run: await cancelRun(tenant.ctx, run.id) };
  };

  test("is a question that staff read at the run, with what was sent, when and to whom; visitors do not", async () => {
    const { runId, run, visitor } = await cancelledMidway([
      ["write", "started"],
      ["idempotent", "started"],
      ["write", "succeeded", '{"status":"succeeded","content":"ok"}'],
      ["write", "outcome_unknown", UNKNOWN],
    ]);
    expect(run.interrupts).toMatchObject([
      {
        id: expect.stringMatching(/^int_[0-9a-f]{32}$/),
        reason: "operator",
        toolCallId: "call_0",
        metadata: {
          tool: "mail",
          provider: "post",
          host: "mail.example",
          outcome: "unknown",
          arguments: { to: "ada" },
          idempotencyKey: `${runId}:0`,
          sentAt: "2026-01-01T00:00:00.000Z",
          choices: ["done", "abort"],
        },
      },
      // It was asked before the run ended, and keeps its id.
      {
        id: "int_00000000000000000000000000000007",
        toolCallId: "call_3",
        metadata: { code: "timeout", requestId: "req_7" },
      },
    ]);
    expect((await listRuns(tenant.ctx, { limit: 1, cursor: null })).items).toMatchObject([
      { id: runId, interrupts: run.interrupts },
    ]);
    const seen = await getRun(visitor, runId);
    expect(seen.interrupts).toEqual([]);
    for (const { id } of run.interrupts) {
      const deciding = resumeRun(visitor, { runId, interruptId: id, decision: "done" });
      await expect(deciding).rejects.toMatchObject({ code: "not_found" });
    }
  });

  test.each([
    ["done", "succeeded"],
    ["abort", "outcome_unknown"],
  ] as const)("is decided once: %s, by whom and when", async (decision, status) => {
    const { conversationId, runId, run } = await cancelledMidway();
    const [question] = run.interrupts;
    const input = { runId, interruptId: question?.id ?? "", decision, payload: { content: "seen in the outbox" } };
    const [first, second] = await Promise.allSettled([resumeRun(tenant.ctx, input), resumeRun(tenant.ctx, input)]);
    const [won, lost] = first.status === "fulfilled" ? [first, second] : [second, first];
    expect(won).toMatchObject({ value: { status: "cancelled", interrupts: [] } });
    expect(lost).toMatchObject({
      reason: { code: "interrupt_resolved", detail: expect.stringContaining(`decided ${decision} (by operator)`) },
    });
    expect(await statusesOf(runId)).toEqual([status]);
    const { rows } = await spine.owner.query("select decision from tool_invocations where run_id = $1", [
      runId.slice(4),
    ]);
    const actor = expect.stringMatching(/^key_/);
    const at = expect.stringMatching(/Z$/);
    expect(rows).toMatchObject([{ decision: { kind: decision, by: "operator", actor, at, outcome: "unknown" } }]);
    const last = (await storedEvents(spine.owner, conversationId)).at(-1);
    expect(last).toMatchObject({
      audience: "staff",
      runId: null,
      event: { name: "call.decided", value: { runId, toolCallId: "call_0", decision, by: "operator" } },
    });
    expect((await written(conversationId, runId)).at(-1)).toBe("RUN_FINISHED cancelled");
  });

  test("is not made again: the answer says why", async () => {
    const { runId, run } = await cancelledMidway();
    const retry = resumeRun(tenant.ctx, { runId, interruptId: run.interrupts[0]?.id ?? "", decision: "retry" });
    await expect(retry).rejects.toMatchObject({ code: "conflict", detail: expect.stringContaining("has ended") });
    expect(await getRun(tenant.ctx, runId)).toMatchObject({ interrupts: run.interrupts });
  });

  test("outlives an abort of another question, and a message that made its run give way", async () => {
    const { conversationId, runId } = await queued();
    const running = await work(spine, worker, runId);
    await withCalls(runId, [
      ["write", "outcome_unknown", UNKNOWN],
      ["write", "outcome_unknown", UNKNOWN.replace("0007", "0008")],
      ["write", "started"],
    ]);
    const metadata = { outcome: "unknown" };
    const open = { reason: "operator" as const, metadata };
    await running.wait(
      { ...open, id: "int_00000000000000000000000000000007", toolCallId: "call_0" },
      { ...open, id: "int_00000000000000000000000000000008", toolCallId: "call_1" },
      // Nothing listened: it was begun and certainly never left.
      { ...open, toolCallId: "call_2", metadata: { outcome: "not_done" } },
    );
    const aborted = await resumeRun(tenant.ctx, {
      runId,
      interruptId: "int_00000000000000000000000000000007",
      decision: "abort",
    });
    expect(aborted).toMatchObject({ status: "failed", interrupts: [{ id: "int_00000000000000000000000000000008" }] });
    expect(await statusesOf(runId)).toEqual(["outcome_unknown", "outcome_unknown", "cancelled"]);

    const { run } = await ask(tenant.ctx, conversationId);
    const again = await work(spine, worker, run.id);
    await withCalls(run.id, [["write", "outcome_unknown", UNKNOWN]]);
    const asked = await again.wait({ ...open, id: "int_00000000000000000000000000000007", toolCallId: "call_0" });
    await ask(tenant.ctx, conversationId);
    const left = await getRun(tenant.ctx, run.id);
    expect(left).toMatchObject({ status: "cancelled", interrupts: [{ id: asked.id }] });
    const settled = await resumeRun(tenant.ctx, { runId: run.id, interruptId: asked.id, decision: "done" });
    expect(settled.interrupts).toEqual([]);
  });
});

describe("in the order in which they come to the conversation", () => {
  /** Holds the conversation until both wait for it, the first before the second; then lets them go. */
  async function oneAfterTheOther<A, B>(conversationId: string, first: () => Promise<A>, second: () => Promise<B>) {
    const holder = await spine.owner.connect();
    const waiting = async (count: number) => {
      await waitFor(
        async () => {
          const { rows } = await spine.owner.query<{ n: number }>(
            `select count(*)::int as n from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock' and state = 'active'`,
          );
          return rows[0]?.n === count;
        },
        { describe: `${count} to wait for the conversation` },
      );
    };
    try {
      await holder.query("begin");
      await holder.query("select 1 from conversation_heads where conversation_id = $1 for update", [
        conversationId.slice(5),
      ]);
      const one = first();
      await waiting(1);
      const two = second();
      await waiting(2);
      await holder.query("commit");
      return await Promise.allSettled([one, two]);
    } finally {
      holder.release();
    }
  }

  test("cancelling and the run's end have exactly one outcome: the first one's", async () => {
    const seeded = fc.sample(fc.boolean(), { numRuns: 10, seed: 20261123 });
    expect(new Set(seeded).size).toBe(2);
    for (const cancelsFirst of seeded) {
      const { conversationId, runId } = await queued();
      const running = await work(spine, worker, runId);
      await running.write(...beginAnswer(newId("msg")));
      running.log.emit({ type: "TEXT_MESSAGE_END", messageId: running.log.brackets.messageId ?? "" });
      running.log.emit({ type: "STEP_FINISHED", stepName: "step-0" });
      await running.log.flush();
      const complete = () => running.complete();
      const cancel = () => cancelRun(tenant.ctx, runId);
      const [first, second] = cancelsFirst
        ? await oneAfterTheOther(conversationId, cancel, complete)
        : await oneAfterTheOther(conversationId, complete, cancel);
      expect(first.status).toBe("fulfilled");
      // Who completes too late is told so; who cancels too late reads what the run became.
      expect(second.status).toBe(cancelsFirst ? "rejected" : "fulfilled");
      const outcome = cancelsFirst ? "cancelled" : "success";
      expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: cancelsFirst ? "cancelled" : "completed" });
      expect((await written(conversationId, runId)).filter((name) => name.startsWith("RUN_FINISHED"))).toEqual([
        `RUN_FINISHED ${outcome}`,
      ]);
    }
  });

  test("cancelling and a decision: the run is cancelled either way, and the decision counts only if it came first", async () => {
    for (const cancelsFirst of [true, false]) {
      const { conversationId, runId } = await queued();
      const { id } = await (await work(spine, worker, runId)).wait({ reason: "operator" });
      const cancel = () => cancelRun(tenant.ctx, runId);
      const decide = () => resumeRun(tenant.ctx, { runId, interruptId: id, decision: "retry" });
      const [first, second] = cancelsFirst
        ? await oneAfterTheOther<unknown, unknown>(conversationId, cancel, decide)
        : await oneAfterTheOther<unknown, unknown>(conversationId, decide, cancel);
      expect([first.status, second.status]).toEqual(["fulfilled", cancelsFirst ? "rejected" : "fulfilled"]);
      const names = await written(conversationId, runId);
      expect(names.filter((name) => name === "run.resumed")).toHaveLength(cancelsFirst ? 0 : 1);
      expect(names.at(-1)).toBe("RUN_FINISHED cancelled");
      expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "cancelled" });
    }
  });
});
