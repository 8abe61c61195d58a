import { afterAll, beforeAll, expect, test } from "vitest";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { storedEvents } from "@agent-engine/testing/invariants.ts";
import {
  addWorker,
  ask,
  claimFor,
  openSpine,
  openTenant,
  startConversation,
  visitorOf,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { Ctx } from "../context.ts";
import type { Decision } from "./decisions.ts";
import { expireInterrupts } from "./expire-interrupts.ts";
import { getRun } from "./get-run.ts";
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

const IN_A_MINUTE = 60_000;
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
/** As if so much time had passed. */
const later = (ms: number) => ({ ...tenant.ctx.services, clock: () => Date.now() + ms });

async function waiting(...interrupts: [Partial<Interrupt>, ...Partial<Interrupt>[]]) {
  const conversationId = await startConversation({ ...tenant, ctx: visitor });
  const { run } = await ask(visitor, conversationId);
  const [first, ...more] = interrupts.map((one) => ({ reason: "approval", ...one }) as Interrupt);
  if (!first) throw new Error("nothing is asked");
  await (await work(spine, worker, run.id)).wait(first, ...more);
  const { interrupts: asked } = await getRun(tenant.ctx, run.id);
  const resume = (decision: Decision, ctx: Ctx = visitor, which = 0) =>
    resumeRun(ctx, { runId: run.id, interruptId: asked[which]?.id ?? "", decision });
  const open = async () => (await getRun(tenant.ctx, run.id)).interrupts.map(({ id }) => id);
  const decisions = async () =>
    (await storedEvents(spine.owner, conversationId)).flatMap(({ event }) =>
      event.type === "CUSTOM" && event.name === "run.resumed" ? [[event.value.decision, event.value.by]] : [],
    );
  return { runId: run.id, asked, resume, open, decisions };
}

test.each<[Interrupt["reason"], string]>([
  ["approval", "decline"],
  ["connection", "decline"],
  ["client_tool", "error"],
])("an interrupt %s that nobody decided comes to %s, and the run goes on", async (reason, decision) => {
  const { runId, decisions, open } = await waiting({ reason, expiresAt: inMs(IN_A_MINUTE) });
  expect(await expireInterrupts(tenant.ctx.services)).toBe(0);
  expect(await open()).toHaveLength(1);
  expect(await expireInterrupts(later(2 * IN_A_MINUTE))).toBe(1);
  expect(await decisions()).toEqual([[decision, "expiry"]]);
  expect(await claimFor(spine, worker, runId)).toMatchObject({ kind: "resume" });
  expect(await expireInterrupts(later(2 * IN_A_MINUTE))).toBe(0);
});

test("what has time left stays open, under its id, and has its own end", async () => {
  const { asked, open, decisions } = await waiting(
    { expiresAt: inMs(3 * IN_A_MINUTE) },
    { expiresAt: inMs(IN_A_MINUTE) },
    { reason: "operator" },
  );
  expect(await expireInterrupts(later(2 * IN_A_MINUTE))).toBe(1);
  expect(await open()).toEqual([asked[0]?.id, asked[2]?.id]);
  expect(await expireInterrupts(later(4 * IN_A_MINUTE))).toBe(1);
  expect(await open()).toEqual([asked[2]?.id]);
  expect(await decisions()).toHaveLength(2);
});

test("whoever comes too late is told so, also before the sweep has been", async () => {
  const { resume, decisions } = await waiting({ expiresAt: inMs(IN_A_MINUTE) });
  const ctx = { ...visitor, services: { ...visitor.services, ...later(2 * IN_A_MINUTE) } };
  await expect(resume("approve", ctx)).rejects.toMatchObject({ code: "interrupt_resolved", extra: { by: "expiry" } });
  expect(await decisions()).toEqual([]);
  await expireInterrupts(later(2 * IN_A_MINUTE));
  await expect(resume("approve")).rejects.toMatchObject({
    code: "interrupt_resolved",
    extra: { decision: "decline", by: "expiry" },
  });
});

test("a person and two sweeps at the same moment: one of them decides", async () => {
  for (let round = 0; round < 5; round++) {
    const { resume, decisions } = await waiting({ expiresAt: inMs(IN_A_MINUTE) });
    await Promise.allSettled([
      expireInterrupts(later(2 * IN_A_MINUTE)),
      resume("approve"),
      expireInterrupts(later(2 * IN_A_MINUTE)),
    ]);
    expect(await decisions()).toHaveLength(1);
  }
});
