import { afterAll, beforeAll, describe, expect, test } from "vitest";
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
import { newId } from "../ids.ts";
import { callHash } from "../toolkits/call-hash.ts";
import { connectInterrupts } from "./connect-interrupts.ts";
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

/** A visitor's run that waits with one call for each of these. */
async function waiting(...interrupts: Partial<Interrupt>[]) {
  const conversationId = await startConversation({ ...tenant, ctx: visitor });
  const { run } = await ask(visitor, conversationId);
  const working = await work(spine, worker, run.id);
  await spine.owner.query(
    `insert into steps (run_id, step_index, tenant_id, key, status) select id, 0, tenant_id, id || ':0', 'tools' from runs where id = $1`,
    [run.id.slice(4)],
  );
  const calls = interrupts.map((interrupt) => ({ ...interrupt, toolCallId: newId("call") }));
  await spine.owner.query(
    `insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments, status)
     select r.id || ':0:' || c.index, r.tenant_id, r.id, 0, c.index, c.id, 'mail_send', 'write', '{"to":"Ada","text":"Hi"}', 'intended'
     from runs r, unnest($2::text[]) with ordinality as c (id, index) where r.id = $1`,
    [run.id.slice(4), calls.map(({ toolCallId }) => toolCallId)],
  );
  const [first, ...more] = calls as unknown as [Interrupt, ...Interrupt[]];
  await working.wait(first, ...more);
  const { interrupts: asked } = await getRun(tenant.ctx, run.id);
  const decide = (ctx: Ctx, decision: "approve" | "decline", payload?: unknown, which = 0) =>
    resumeRun(ctx, { runId: run.id, interruptId: asked[which]?.id ?? "", decision, payload });
  const rows = async () =>
    (
      await spine.owner.query<{ arguments: unknown; decision: unknown }>(
        "select arguments, decision from tool_invocations where run_id = $1 order by call_index",
        [run.id.slice(4)],
      )
    ).rows;
  return { conversationId, runId: run.id, asked, decide, rows };
}

const sent = { to: "Ada", text: "Hi" };
function approval(metadata: Record<string, unknown> = {}): Partial<Interrupt> {
  const parameters = {
    type: "object",
    properties: { to: { type: "string" }, text: { type: "string" } },
    required: ["to", "text"],
    additionalProperties: false,
  };
  const hash = callHash("mail_send", sent);
  const call = { kind: "approval", by: "anyone", tool: "mail_send", arguments: sent, parameters, hash };
  return { reason: "approval", metadata: { ...call, ...metadata } };
}

const logOf = async (conversationId: string) => (await storedEvents(spine.owner, conversationId)).slice(-2);

describe("an approval is whose it is to give:", () => {
  test("the team's is not the visitor's, who learn no more than that somebody decides", async () => {
    const { runId, asked, decide } = await waiting(approval({ by: "operator" }));
    await expect(decide(visitor, "approve")).rejects.toMatchObject({ code: "forbidden" });
    await expect(decide(visitor, "decline")).rejects.toMatchObject({ code: "forbidden" });
    const [shown] = (await getRun(visitor, runId)).interrupts;
    expect(shown).toMatchObject({ id: asked[0]?.id, metadata: { kind: "approval", by: "operator", choices: [] } });
    expect(JSON.stringify(shown)).not.toContain("Ada");
    expect(await decide(tenant.ctx, "approve")).toMatchObject({ interrupts: [] });
  });

  test("the visitor's is not the team's, who may only decline it", async () => {
    const { decide } = await waiting(approval({ by: "visitor" }));
    await expect(decide(tenant.ctx, "approve")).rejects.toMatchObject({ code: "forbidden" });
    expect(await decide(visitor, "approve")).toMatchObject({ interrupts: [] });
    const other = await waiting(approval({ by: "visitor" }));
    expect(await other.decide(tenant.ctx, "decline")).toMatchObject({ interrupts: [] });
  });
});

describe("an approval is of the call that was seen:", () => {
  test("the hash of another one is a conflict, and nothing is decided", async () => {
    const { runId, decide } = await waiting(approval());
    for (const hash of [callHash("mail_send", { ...sent, to: "Eve" }), "", null, 7]) {
      await expect(decide(visitor, "approve", { hash })).rejects.toMatchObject({
        code: "conflict",
        detail: expect.stringContaining("payload.hash"),
      });
    }
    expect((await getRun(tenant.ctx, runId)).interrupts).toHaveLength(1);
    await decide(visitor, "approve", { hash: callHash("mail_send", { text: "Hi", to: "Ada" }) });
  });

  test("of two at once with different words, one wins and only its call is made", async () => {
    const { conversationId, decide, rows } = await waiting(approval());
    const ends = await Promise.allSettled([
      decide(tenant.ctx, "approve", { arguments: { ...sent, to: "Bob" } }),
      decide(tenant.ctx, "approve", { arguments: { ...sent, to: "Eve" } }),
      decide(visitor, "decline"),
    ]);
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const [row] = await rows();
    const to = ends[0]?.status === "fulfilled" ? "Bob" : ends[1]?.status === "fulfilled" ? "Eve" : "Ada";
    expect(row).toMatchObject({ arguments: { to }, decision: { kind: to === "Ada" ? "decline" : "approve" } });
    const log = await storedEvents(spine.owner, conversationId);
    const named = (name: string) => log.filter(({ event }) => event.type === "CUSTOM" && event.name === name);
    expect([named("run.resumed").length, named("call.edited").length]).toEqual([1, to === "Ada" ? 0 : 1]);
  });
});

describe("a call that staff change before it is made", () => {
  test("is sent as they say; log, call and audit log say who changed what", async () => {
    const { conversationId, runId, asked, decide, rows } = await waiting(approval());
    const changed = { ...sent, text: "Hello" };
    await decide(tenant.ctx, "approve", { arguments: changed });
    expect(await rows()).toMatchObject([
      { arguments: changed, decision: { kind: "approve", by: "operator", edited: true, attempts: 0 } },
    ]);
    const { toolCallId, id: interruptId } = asked[0] ?? {};
    expect(await logOf(conversationId)).toMatchObject([
      { audience: "all", event: { name: "run.resumed", value: { interruptId, decision: "approve" } } },
      {
        audience: "staff",
        event: { name: "call.edited", value: { toolCallId, interruptId, arguments: changed, by: "operator" } },
      },
    ]);
    const { rows: entries } = await spine.owner.query<{ content: string }>(
      "select entry::text as content from audit_log where entry::text like $1",
      [`%${runId}%`],
    );
    expect(entries.map(({ content }) => content).join()).toMatch(/"edited": ?\["text"\]/);
    expect(entries.map(({ content }) => content).join()).not.toContain("Hello");
    expect(await claimFor(spine, worker, runId)).toMatchObject({ kind: "resume" });
  });

  test.each<[string, unknown]>([
    ["that do not fit its schema", { to: 7, text: "Hi" }],
    ["with a field it does not know", { ...sent, connectionId: "conn_1" }],
    ["that are no object", "send it"],
    ["that are a list", [sent]],
    ["that are nothing", null],
  ])("is not made with arguments %s", async (_, args) => {
    const { conversationId, decide, rows } = await waiting(approval());
    await expect(decide(tenant.ctx, "approve", { arguments: args })).rejects.toMatchObject({ code: "invalid_request" });
    expect(await rows()).toEqual([{ arguments: sent, decision: null }]);
    expect((await logOf(conversationId)).map(({ event }) => event.type)).toEqual(["RUN_STARTED", "RUN_FINISHED"]);
  });

  test("is not the visitor's to change, and a declined one has nothing to change", async () => {
    const { decide } = await waiting(approval());
    const payload = { arguments: { ...sent, to: "Eve" } };
    await expect(decide(visitor, "approve", payload)).rejects.toMatchObject({ code: "forbidden" });
    await expect(decide(tenant.ctx, "decline", payload)).rejects.toMatchObject({ code: "invalid_request" });
  });

  test("is not changed by the same arguments in another order", async () => {
    const { decide, rows } = await waiting(approval());
    await decide(tenant.ctx, "approve", { arguments: { text: "Hi", to: "Ada" } });
    expect((await rows())[0]?.decision).not.toHaveProperty("edited");
  });
});

describe("an account that was connected", () => {
  const connection = (toolkitId: string): Partial<Interrupt> => ({
    reason: "connection",
    metadata: { kind: "connection", toolkitId, outcome: "not_done" },
  });
  const connectionId = newId("conn");

  test("decides every question for its toolkit, and lets the run go on with the last one", async () => {
    const { conversationId, runId, decide, rows } = await waiting(connection("a"), connection("a"), connection("b"));
    expect(await connectInterrupts(tenant.ctx, { runId, toolkitId: "a", connectionId })).toBe(2);
    expect((await getRun(tenant.ctx, runId)).interrupts).toMatchObject([{ metadata: { toolkitId: "b" } }]);
    expect(await rows()).toMatchObject([
      { decision: { kind: "connected", by: "visitor", actor: connectionId, attempts: 0, outcome: "not_done" } },
      { decision: { kind: "connected" } },
      { decision: null },
    ]);
    expect(await connectInterrupts(tenant.ctx, { runId, toolkitId: "a", connectionId })).toBe(0);
    await decide(visitor, "decline", undefined, 2);
    expect((await rows())[2]).toMatchObject({ decision: { kind: "decline", of: "connection" } });
    expect(await claimFor(spine, worker, runId)).toMatchObject({ kind: "resume" });
    const log = await storedEvents(spine.owner, conversationId);
    expect(log.flatMap(({ event }) => (event.type === "CUSTOM" ? [event.name] : []))).toEqual([
      "connection.updated",
      "run.resumed",
      "run.resumed",
      "run.resumed",
    ]);
  });

  test("comes too late for a visitor who declined, and once for callbacks that race", async () => {
    const declined = await waiting(connection("a"));
    await declined.decide(visitor, "decline");
    expect(await connectInterrupts(tenant.ctx, { runId: declined.runId, toolkitId: "a", connectionId })).toBe(0);
    const raced = await waiting(connection("a"));
    const input = { runId: raced.runId, toolkitId: "a", connectionId };
    const decided = await Promise.all([1, 2, 3].map(() => connectInterrupts(tenant.ctx, input)));
    expect(decided.toSorted((a, b) => a - b)).toEqual([0, 0, 1]);
  });
});
