import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forAudience } from "@agent-engine/protocol/envelope.ts";
import { custom, type Interrupt } from "@agent-engine/protocol/events.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { storedEvents } from "@agent-engine/testing/invariants.ts";
import {
  addWorker,
  ask,
  claimFor,
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
import type { Ctx } from "../context.ts";
import { inTenant } from "../db/transaction.ts";
import { newId } from "../ids.ts";
import { endRun } from "./end-run.ts";
import { getRun } from "./get-run.ts";
import type { Decision } from "./decisions.ts";
import { resumeRun } from "./resume-run.ts";

let spine: Spine;
let tenant: TestTenant;
let visitor: Ctx;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  visitor = await visitorOf(tenant);
  worker = await addWorker(spine);
});
afterAll(() => spine.close());

/** A visitor's run that waits for somebody. */
async function waiting(reason: Interrupt["reason"], more: Partial<Interrupt> = {}) {
  const conversationId = await startConversation({ ...tenant, ctx: visitor });
  const { run } = await ask(visitor, conversationId);
  const interrupt = await (await work(spine, worker, run.id)).wait({ reason, metadata: { code: "secret" }, ...more });
  const resume = (decision: Decision, ctx: Ctx = tenant.ctx, payload?: unknown) =>
    resumeRun(ctx, { runId: run.id, interruptId: interrupt.id, decision, payload });
  return { conversationId, runId: run.id, interrupt, resume };
}

const rungFor = (runId: string) => spine.rung.filter((doorbell) => doorbell.runId === runId);
const written = async (conversationId: string) => (await eventNames(spine, conversationId)).slice(3);
const PARKED = ["RUN_STARTED", "RUN_FINISHED interrupt"];

test("a decision is logged, rings a new doorbell, and its worker finds it", async () => {
  const { conversationId, runId, interrupt, resume } = await waiting("operator");
  const ctx = { ...tenant.ctx, correlationId: "c-resume" };
  await resume("retry", ctx, { reason: "it is up again" });
  expect(await written(conversationId)).toEqual([...PARKED, "run.resumed"]);
  const stored = await storedEvents(spine.owner, conversationId);
  expect(stored.at(-1)).toMatchObject({
    runId,
    correlationId: "c-resume",
    event: custom("run.resumed", { interruptId: interrupt.id, decision: "retry", by: "operator" }),
  });
  expect(await jobsOf(spine, runId)).toEqual([
    { handOver: 1, state: "done" },
    { handOver: 2, state: "dispatched" },
  ]);
  expect(rungFor(runId).map(({ handOver }) => handOver)).toEqual([1, 2]);

  const claim = await claimFor(spine, worker, runId);
  expect(claim).toMatchObject({
    kind: "resume",
    attempt: 1,
    correlationId: "c-resume",
    resolution: { interrupt, decision: "retry", by: "operator", payload: { reason: "it is up again" } },
    interrupts: [],
  });
  expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "running", interrupts: [] });
  const working = workOn(spine, claim);
  await working.write({ type: "RUN_STARTED", threadId: conversationId, runId });
  await working.complete();
  await verifyAgUi((await storedEvents(spine.owner, conversationId)).map((one) => forAudience(one, "all").event));
});

test("an operator's abort fails the run at once, with words for the visitor, and the next one goes", async () => {
  const { conversationId, resume } = await waiting("operator");
  const run = await resume("abort");
  expect(run).toMatchObject({
    status: "failed",
    error: { code: "aborted" },
    interrupts: [],
    finishedAt: expect.any(String),
  });
  expect(await written(conversationId)).toEqual([...PARKED, "run.resumed", "RUN_ERROR"]);
  const { run: next } = await ask(visitor, conversationId);
  expect(rungFor(next.id)).toHaveLength(1);
  await expect(resume("retry")).rejects.toMatchObject({ code: "interrupt_resolved" });
});

describe("the first decision wins", () => {
  test.each<[Decision, Decision]>([
    ["retry", "retry"],
    ["retry", "done"],
    ["retry", "abort"],
  ])("%s, then %s", async (first, second) => {
    const { conversationId, runId, resume } = await waiting("operator");
    await resume(first);
    await expect(resume(second)).rejects.toMatchObject({ code: "interrupt_resolved" });
    expect(await written(conversationId)).toEqual([...PARKED, "run.resumed"]);
    expect(await claimFor(spine, worker, runId)).toMatchObject({ resolution: { decision: first } });
    await expect(resume(second)).rejects.toMatchObject({ code: "interrupt_resolved" });
  });

  test("of ten at once", async () => {
    const { conversationId, runId, resume } = await waiting("operator");
    const decisions: Decision[] = Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? "retry" : "abort"));
    const answers = await Promise.allSettled(decisions.map((decision) => resume(decision)));
    const winners = decisions.filter((_, index) => answers[index]?.status === "fulfilled");
    expect(winners).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "interrupt_resolved" });
    }
    expect((await written(conversationId)).filter((name) => name === "run.resumed")).toHaveLength(1);
    expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: winners[0] === "abort" ? "failed" : "waiting" });
  });
});

describe("is refused, and nothing is written:", () => {
  test.each<[Interrupt["reason"], Decision]>([
    ["operator", "approve"],
    // A model that did not answer: there is nothing that may have been done.
    ["operator", "done"],
    ["approval", "retry"],
    ["approval", "abort"],
    ["connection", "approve"],
    ["client_tool", "done"],
  ])("an interrupt of kind %s with %s", async (reason, decision) => {
    const { conversationId, runId, resume } = await waiting(reason);
    await expect(resume(decision)).rejects.toMatchObject({ code: "invalid_request" });
    expect(await written(conversationId)).toEqual(PARKED);
    expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "waiting" });
  });

  test("an interrupt that is not this run's, or of a run that does not wait", async () => {
    const { runId } = await waiting("operator");
    const other = await waiting("operator");
    const wrong = { runId, interruptId: other.interrupt.id, decision: "retry" as const };
    await expect(resumeRun(tenant.ctx, wrong)).rejects.toMatchObject({ code: "not_found" });
    const { run } = await ask(tenant.ctx, await startConversation(tenant));
    for (const interruptId of [newId("int"), "int_1", "", "x".repeat(100)]) {
      const early = { runId: run.id, interruptId, decision: "retry" as const };
      await expect(resumeRun(tenant.ctx, early)).rejects.toMatchObject({ code: "not_found" });
    }
  });

  test("a visitor's word on what is the operator's, or on another visitor's run", async () => {
    const { conversationId, resume } = await waiting("operator");
    await expect(resume("retry", visitor)).rejects.toMatchObject({ code: "forbidden" });
    await expect(resume("abort", visitor)).rejects.toMatchObject({ code: "forbidden" });
    const approval = await waiting("approval");
    await expect(approval.resume("approve", await visitorOf(tenant))).rejects.toMatchObject({ code: "not_found" });
    expect(await written(conversationId)).toEqual(PARKED);
    expect(await written(approval.conversationId)).toEqual(PARKED);
  });
});

test("a visitor decides what is addressed to them, and sees nothing that is not", async () => {
  const { conversationId, runId, resume } = await waiting("approval");
  expect((await getRun(visitor, runId)).interrupts).toMatchObject([
    { reason: "approval", metadata: { code: "secret" } },
  ]);
  await resume("approve", visitor);
  expect((await storedEvents(spine.owner, conversationId)).at(-1)?.event).toMatchObject({ value: { by: "visitor" } });
  const operators = await waiting("operator");
  const [shown] = (await getRun(visitor, operators.runId)).interrupts;
  expect(shown).toEqual({ id: operators.interrupt.id, reason: "operator", message: "Someone must look at this." });
});

test("whatever a model, a tool or a person said can be kept with the run", async () => {
  const [said, kept] = ["a\u0000b\ud800", "a\ufffdb\ufffd"];
  const { runId, interrupt, resume } = await waiting("client_tool", { metadata: { detail: said } });
  const stored = [{ ...interrupt, metadata: { detail: kept } }];
  expect((await getRun(tenant.ctx, runId)).interrupts).toEqual(stored);
  await resume("result", visitor, { content: { answer: said } });
  const claim = await claimFor(spine, worker, runId);
  expect(claim).toMatchObject({ resolution: { interrupt: stored[0], payload: { content: { answer: kept } } } });
  const { conversationId, correlationId, epoch } = claim;
  const event = { type: "RUN_ERROR" as const, code: "internal", message: "Sorry." };
  const events = [{ event, audience: "all" as const, runId, correlationId }];
  const error = { code: "internal", message: "Sorry.", detail: said };
  const end = { status: "failed" as const, finishReason: null, error, usage: [], texts: new Map<string, string>() };
  await inTenant(spine.services.db, tenant.id, (tx) =>
    endRun(tenant.ctx, tx, { conversationId, runId, fence: { runId, epoch, position: 0 }, events, ...end }),
  );
  expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "failed", error: { ...error, detail: kept } });
});

test("a decision about a tool call is kept with the call, for one more attempt", async () => {
  const toolCallId = newId("call");
  const conversationId = await startConversation(tenant);
  const { run } = await ask(tenant.ctx, conversationId);
  const working = await work(spine, worker, run.id);
  await spine.owner.query(
    `insert into steps (run_id, step_index, tenant_id, key, status) select id, 0, tenant_id, id || ':0', 'tools' from runs where id = $1`,
    [run.id.slice(4)],
  );
  await spine.owner.query(
    `insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments, status, attempts, outcome)
     select id || ':0:0', tenant_id, id, 0, 0, $2, 'pay', 'write', '{}', 'outcome_unknown', 1, '{"status": "outcome_unknown"}' from runs where id = $1`,
    [run.id.slice(4), toolCallId],
  );
  const { id } = await working.wait({ reason: "operator", toolCallId });
  await resumeRun(tenant.ctx, { runId: run.id, interruptId: id, decision: "done", payload: { content: "paid" } });
  const { rows } = await spine.owner.query("select outcome, decision from tool_invocations where tool_call_id = $1", [
    toolCallId,
  ]);
  const actor = tenant.ctx.actor.kind === "secret_key" ? tenant.ctx.actor.apiKeyId : "";
  const at = expect.stringMatching(/^\d{4}-.*Z$/);
  expect(rows).toEqual([
    { outcome: null, decision: { kind: "done", by: "operator", actor, at, content: "paid", attempts: 1 } },
  ]);
});

/** A visitor's run whose two calls wait for somebody, each for itself. */
async function waitingForTwo(...reasons: [Interrupt["reason"], Interrupt["reason"]]) {
  const conversationId = await startConversation({ ...tenant, ctx: visitor });
  const { run } = await ask(visitor, conversationId);
  const [first, second] = reasons.map((reason) => ({ reason, toolCallId: newId("call") }));
  if (!first || !second) throw new Error("two reasons");
  await (await work(spine, worker, run.id)).wait(first, second);
  const { interrupts } = await getRun(tenant.ctx, run.id);
  const [a, b] = interrupts.map(({ id }) => id) as [string, string];
  const decide = (interruptId: string, decision: Decision, ctx: Ctx = tenant.ctx) =>
    resumeRun(ctx, { runId: run.id, interruptId, decision });
  return { conversationId, runId: run.id, a, b, decide };
}

const openOf = (run: { interrupts: readonly Interrupt[] }) => run.interrupts.map(({ id }) => id);

describe("a run that waits for several decisions", () => {
  test("is decided one by one, in any order, under ids that stay; the last one lets it go on", async () => {
    const { conversationId, runId, a, b, decide } = await waitingForTwo("approval", "approval");
    const half = await decide(b, "decline", visitor);
    expect(half).toMatchObject({ status: "waiting" });
    expect(openOf(half)).toEqual([a]);
    expect(rungFor(runId)).toHaveLength(1);
    await expect(claimFor(spine, worker, runId)).rejects.toThrow("not to be claimed");
    await expect(decide(b, "approve")).rejects.toMatchObject({
      code: "interrupt_resolved",
      detail: expect.stringContaining("decline (by visitor)"),
      extra: { decision: "decline", by: "visitor", decidedAt: expect.stringMatching(/Z$/), runStatus: "waiting" },
    });
    const whole = await decide(a, "approve");
    expect(whole).toMatchObject({ status: "waiting", interrupts: [] });
    expect(rungFor(runId).map(({ handOver }) => handOver)).toEqual([1, 2]);
    expect(await written(conversationId)).toEqual([...PARKED, "run.resumed", "run.resumed"]);
    const claim = await claimFor(spine, worker, runId);
    const working = workOn(spine, claim);
    await working.write({ type: "RUN_STARTED", threadId: conversationId, runId });
    await working.complete();
    await verifyAgUi((await storedEvents(spine.owner, conversationId)).map((one) => forAudience(one, "all").event));
  });

  test("two people decide at the same moment: both count, and it goes on once", async () => {
    for (let round = 0; round < 6; round++) {
      const { conversationId, runId, a, b, decide } = await waitingForTwo("operator", "operator");
      const answers = await Promise.all([decide(a, "retry"), decide(b, "done")]);
      expect(answers.map((answer) => answer.interrupts.length).toSorted((x, y) => x - y)).toEqual([0, 1]);
      expect(rungFor(runId)).toHaveLength(2);
      expect(await written(conversationId)).toEqual([...PARKED, "run.resumed", "run.resumed"]);
    }
  });

  test("ten people decide two questions: one decision each", async () => {
    const { conversationId, a, b, decide } = await waitingForTwo("operator", "operator");
    const answers = await Promise.allSettled(
      Array.from({ length: 10 }, (_, index) => decide(index % 2 === 0 ? a : b, "retry")),
    );
    const refused = answers.filter((answer) => answer.status === "rejected");
    expect(refused).toHaveLength(8);
    for (const { reason } of refused) expect(reason).toMatchObject({ code: "interrupt_resolved" });
    expect(await written(conversationId)).toEqual([...PARKED, "run.resumed", "run.resumed"]);
  });

  test("an abort ends it at once, whatever else is open; the other is then too late", async () => {
    const { conversationId, a, b, decide } = await waitingForTwo("operator", "approval");
    expect(await decide(a, "abort")).toMatchObject({ status: "failed", error: { code: "aborted" }, interrupts: [] });
    expect(await written(conversationId)).toEqual([...PARKED, "run.resumed", "RUN_ERROR"]);
    await expect(decide(b, "approve")).rejects.toMatchObject({
      code: "interrupt_resolved",
      detail: expect.stringContaining("it is failed"),
    });
  });

  test("when only the team's are left, a message that waits goes first", async () => {
    const { conversationId, runId, a, decide } = await waitingForTwo("approval", "operator");
    const { run: next } = await ask(visitor, conversationId);
    expect(rungFor(next.id)).toEqual([]);
    expect(await decide(a, "approve", visitor)).toMatchObject({ status: "cancelled", interrupts: [] });
    expect(rungFor(next.id)).toHaveLength(1);
    expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "cancelled" });
  });
});

test("a run that was decided and not taken up yet is active: a new message does not cancel it", async () => {
  for (const doubleSend of ["queue", "reject"] as const) {
    const other = await openTenant(spine, { doubleSend });
    const conversationId = await startConversation(other);
    const { run } = await ask(other.ctx, conversationId);
    const { id } = await (await work(spine, worker, run.id)).wait({ reason: "operator" });
    await resumeRun(other.ctx, { runId: run.id, interruptId: id, decision: "retry" });
    const sending = ask(other.ctx, conversationId);
    if (doubleSend === "reject") {
      await expect(sending).rejects.toMatchObject({ code: "run_active", extra: { runId: run.id } });
    } else expect(await jobsOf(spine, (await sending).run.id)).toEqual([{ handOver: 1, state: "blocked" }]);
    expect(await getRun(other.ctx, run.id)).toMatchObject({ status: "waiting" });
    expect(await claimFor(spine, worker, run.id)).toMatchObject({ kind: "resume" });
  }
});
