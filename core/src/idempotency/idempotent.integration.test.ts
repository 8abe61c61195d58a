import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ask, openSpine, openTenant, startConversation, visitorOf, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { createAgent } from "../agents/create-agent.ts";
import { listAgents } from "../agents/list-agents.ts";
import type { Ctx } from "../context.ts";
import { ProblemError } from "../errors.ts";
import { newId, uuidOf } from "../ids.ts";
import { idempotent, type IdempotentRequest } from "./idempotent.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
});
afterAll(() => spine.close());

function request(more: Partial<IdempotentRequest> = {}): IdempotentRequest {
  return { key: newId("key"), route: "POST /v1/things", body: { a: 1 }, status: 201, ...more };
}

async function savedFor(key: string | null): Promise<number> {
  const { rows } = await spine.owner.query("select from idempotency_keys where key = $1", [key]);
  return rows.length;
}

describe("one key", () => {
  test("50 times in parallel is one effect: the others are told to wait, or get the same answer", async () => {
    const conversationId = await startConversation(tenant);
    const same = request({ status: 202 });
    const answers = await Promise.allSettled(
      Array.from({ length: 50 }, () => idempotent(tenant.ctx, same, (ctx) => ask(ctx, conversationId))),
    );
    const bodies = new Set<string>();
    let first = 0;
    for (const answer of answers) {
      if (answer.status === "rejected") {
        expect(answer.reason).toMatchObject({ code: "idempotency_in_flight", retryAfterSeconds: 1 });
        continue;
      }
      expect(answer.value.status).toBe(202);
      bodies.add(JSON.stringify(answer.value.body));
      if (!answer.value.replayed) first++;
    }
    expect([first, bodies.size]).toEqual([1, 1]);
    const { rows } = await spine.owner.query("select from runs where conversation_id = $1", [uuidOf(conversationId)]);
    expect(rows).toHaveLength(1);
    const later = await idempotent(tenant.ctx, same, (ctx) => ask(ctx, conversationId));
    expect(later).toMatchObject({ replayed: true, status: 202 });
    expect(bodies).toContain(JSON.stringify(later.body));
  });

  test("with entities too", async () => {
    const other = await openTenant(spine);
    const config = (await listAgents(other.ctx, { limit: 1, cursor: null })).items[0]?.draft;
    if (!config) throw new Error("no agent");
    const same = request({ transaction: "entities" });
    const create = () => idempotent(other.ctx, same, (ctx) => createAgent(ctx, { name: "Once", config }));
    const answers = await Promise.allSettled(Array.from({ length: 20 }, create));
    expect(answers.filter((one) => one.status === "fulfilled" && !one.value.replayed)).toHaveLength(1);
    expect((await listAgents(other.ctx, { limit: 10, cursor: null })).items.map(({ name }) => name)).toEqual([
      "Once",
      "Test agent",
    ]);
    expect(await create()).toMatchObject({ replayed: true, body: { name: "Once" } });
  });

  test("is told that the first is still being processed, at once", async () => {
    const same = request();
    let [begin, finish] = [(): void => {}, (): void => {}];
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const first = idempotent(tenant.ctx, same, async () => {
      begin();
      await new Promise<void>((resolve) => (finish = resolve));
      return { done: true };
    });
    await begun;
    const meanwhile = idempotent(tenant.ctx, same, async () => ({ done: false }));
    await expect(meanwhile).rejects.toMatchObject({ code: "idempotency_in_flight" });
    finish();
    expect(await first).toEqual({ status: 201, body: { done: true }, replayed: false });
    expect(await idempotent(tenant.ctx, same, async () => ({ done: false }))).toEqual({
      status: 201,
      body: { done: true },
      replayed: true,
    });
  });

  test.each([
    ["another body", { body: { a: 2 } }],
    ["no body", { body: undefined }],
    ["another route", { route: "POST /v1/others" }],
  ])("with %s is refused and does nothing", async (_what, change) => {
    const same = request();
    await idempotent(tenant.ctx, same, async () => ({ done: true }));
    let isRun = false;
    const again = idempotent(tenant.ctx, { ...same, ...change }, async () => {
      isRun = true;
      return {};
    });
    await expect(again).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect(isRun).toBe(false);
  });

  test("means nothing for another visitor, another key or another tenant", async () => {
    const other = await openTenant(spine);
    const [ada, bob] = [await visitorOf(tenant), await visitorOf(tenant)];
    const same = request();
    for (const ctx of [tenant.ctx, other.ctx, ada, bob]) {
      const { replayed } = await idempotent(ctx, same, async () => ({ done: true }));
      expect(replayed).toBe(false);
    }
    expect(await savedFor(same.key)).toBe(4);
  });
});

describe("a verb that asks other services", () => {
  const asking = () => request({ transaction: "none" });
  const claims = async (key: string | null) =>
    (await spine.owner.query("select from idempotency_claims where key = $1", [key])).rows.length;

  test("is done once for a key, however many ask at once", async () => {
    const same = asking();
    let done = 0;
    const verb = async () => ({ done: ++done });
    const answers = await Promise.allSettled(Array.from({ length: 50 }, () => idempotent(tenant.ctx, same, verb)));
    for (const answer of answers) {
      if (answer.status === "rejected") expect(answer.reason).toMatchObject({ code: "idempotency_in_flight" });
      else expect(answer.value.body).toEqual({ done: 1 });
    }
    expect(await idempotent(tenant.ctx, same, verb)).toEqual({ status: 201, body: { done: 1 }, replayed: true });
    expect(done).toBe(1);
    expect(await claims(same.key)).toBe(0);
    const other = idempotent(tenant.ctx, { ...same, body: { a: 2 } }, verb);
    await expect(other).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect(await claims(same.key)).toBe(0);
  });

  test("holds no connection to the database while they take their time", async () => {
    const slow = Promise.withResolvers<void>();
    let waiting = 0;
    const verb = async () => {
      waiting++;
      await slow.promise;
      return {};
    };
    const answers = Array.from({ length: 40 }, () => idempotent(tenant.ctx, asking(), verb));
    await waitFor(() => waiting === 40, { describe: "more of them than there are connections" });
    expect((await listAgents(tenant.ctx, { limit: 1, cursor: null })).items).toHaveLength(1);
    slow.resolve();
    expect(await Promise.all(answers)).toHaveLength(40);
  });

  test("may be tried again when it failed, and at once", async () => {
    const same = asking();
    const failed = idempotent(tenant.ctx, same, () => Promise.reject(new ProblemError("conflict", "not now")));
    await expect(failed).rejects.toMatchObject({ code: "conflict" });
    expect(await idempotent(tenant.ctx, same, async () => 1)).toMatchObject({ replayed: false });
  });

  test("may be tried again when whoever answered it has died, after a while", async () => {
    const same = asking();
    const dead = idempotent(tenant.ctx, same, () => new Promise<never>(() => {}));
    void dead;
    await waitFor(async () => (await claims(same.key)) === 1, { describe: "the claim" });
    const tooEarly = idempotent(tenant.ctx, same, async () => 1);
    await expect(tooEarly).rejects.toMatchObject({ code: "idempotency_in_flight" });
    await spine.owner.query("update idempotency_claims set expires_at = now() where key = $1", [same.key]);
    expect(await idempotent(tenant.ctx, same, async () => 2)).toMatchObject({ body: 2, replayed: false });
  });

  test("keeps a secret answer encrypted", async () => {
    const same = { ...asking(), isSecret: true };
    await idempotent(tenant.ctx, same, async () => ({ url: "https://secret.example" }));
    const { rows } = await spine.owner.query("select response::text from idempotency_keys where key = $1", [same.key]);
    expect(JSON.stringify(rows)).not.toContain("secret.example");
    expect(await idempotent(tenant.ctx, same, async () => ({}))).toMatchObject({
      body: { url: "https://secret.example" },
      replayed: true,
    });
  });
});

describe("a verb that fails", () => {
  test("leaves neither its effect nor an answer: the same key may try again", async () => {
    const conversationId = await startConversation(tenant);
    const same = request();
    const fail = async (ctx: Ctx) => {
      await ask(ctx, conversationId);
      throw new ProblemError("conflict", "not now");
    };
    await expect(idempotent(tenant.ctx, same, fail)).rejects.toMatchObject({ code: "conflict" });
    expect(await savedFor(same.key)).toBe(0);
    const answer = await idempotent(tenant.ctx, same, (ctx) => ask(ctx, conversationId));
    expect(answer.replayed).toBe(false);
    expect(answer.body.run.conversationId).toBe(conversationId);
  });

  test("whose answer cannot be saved has no effect", async () => {
    const conversationId = await startConversation(tenant);
    const unsaveable = idempotent(tenant.ctx, request({ status: Number.NaN }), (ctx) => ask(ctx, conversationId));
    await expect(unsaveable).rejects.toThrow();
    const { rows } = await spine.owner.query("select from runs where conversation_id = $1", [uuidOf(conversationId)]);
    expect(rows).toHaveLength(0);
  });
});

test("without a key every request is one of its own", async () => {
  const once = request({ key: null });
  for (let i = 0; i < 2; i++) {
    expect(await idempotent(tenant.ctx, once, async () => i)).toEqual({ status: 201, body: i, replayed: false });
  }
});

test.each(["", " ", "a b", "ä", "a".repeat(256), "a\u0000"])("%j is no key", async (key) => {
  await expect(idempotent(tenant.ctx, request({ key }), async () => 1)).rejects.toMatchObject({
    code: "invalid_request",
  });
});

test("an answer with anything a text may hold is replayed as it was", async () => {
  const same = request();
  const body = { text: "a\u0000b \ud800 👋 \\u0000", nested: [null, 1.5, { deep: "" }] };
  await idempotent(tenant.ctx, same, async () => body);
  expect((await idempotent(tenant.ctx, same, async () => ({}))).body).toEqual(body);
});
