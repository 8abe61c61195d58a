/** Erasing a person, on the product with a real worker: nothing they said or were is left, and everybody else goes on. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inTenant } from "@agent-engine/core/db/transaction.ts";
import { verifyAuditLog } from "@agent-engine/core/audit/verify-audit-log.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { submit } from "@agent-engine/testing/submit.ts";
import { conversationState } from "@agent-engine/core/events/conversation-state.ts";
import { readEvents } from "@agent-engine/core/events/read-events.ts";
import { idempotent } from "@agent-engine/core/idempotency/idempotent.ts";
import { newId, uuidOf } from "@agent-engine/core/ids.ts";
import { statement } from "@agent-engine/core/db/statement.ts";
import { forkRun } from "@agent-engine/core/runs/fork-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { eraseVisitor } from "@agent-engine/core/visitors/erase-visitor.ts";
import { exportVisitor, type ExportPart } from "@agent-engine/core/visitors/export-visitor.ts";
import { getVisitor } from "@agent-engine/core/visitors/get-visitor.ts";
import { listVisitors } from "@agent-engine/core/visitors/list-visitors.ts";
import { openVisitorSession } from "@agent-engine/core/visitors/open-visitor-session.ts";
import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import { findInDatabase } from "@agent-engine/testing/find-in-database.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { calls, says, shopToolkit, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterAll(() => product.stop());

/** Words that stand nowhere else. */
const SAID = "quokkamarmalade";
const TOLD = "zebrahonorific";
const ARGUED = "tapirwaltz";
const EXTERNAL = "customer-okapi-4711";
const NAME = "Ottoline Okapi";
const EMAIL = "ottoline@okapi.example";
const TRAIT = "narwhalplan";
const WORDS = [SAID, TOLD, ARGUED, EXTERNAL, NAME, EMAIL, TRAIT];
const FORKED = { reuseToolResults: true, allowSideEffects: false };

function visitorOf(chat: Chat): VisitorId {
  if (chat.visitor.actor.kind !== "visitor") throw new Error("not a visitor");
  return chat.visitor.actor.visitorId;
}

/** The chat's visitor turns out to be somebody the customer knows. */
async function identified(chat: Chat): Promise<Ctx> {
  const { actor } = chat.visitor;
  if (actor.kind !== "visitor") throw new Error("not a visitor");
  const now = Date.now();
  const { visitor } = await openVisitorSession(chat.staff, {
    siteId: actor.siteId,
    earlier: { visitorId: actor.visitorId, sessionId: newId("session"), issuedAt: now, identifiedAt: null },
    identity: {
      externalId: EXTERNAL,
      name: NAME,
      email: EMAIL,
      traits: { plan: TRAIT },
      issuedAt: now,
      expiresAt: now + 60_000,
      tokenHash: Buffer.from(newId("hash")),
    },
  });
  return { ...chat.visitor, actor: { ...actor, visitorId: visitor.id as VisitorId } };
}

/** Leaves words in every table that can hold some: runs that ended, wait, are queued, were forked; answers; a failure. */
async function fill(chat: Chat): Promise<{ person: Ctx; runIds: string[] }> {
  const person = await identified(chat);
  expect((await getConversation(person, chat.conversationId)).visitorId).toBe(visitorOf({ ...chat, visitor: person }));
  const ask = async (text: string, ctx = person) =>
    (await submit(ctx, { conversationId: chat.conversationId, clientMessageId: newId("m"), text })).run;

  const done = await ask(say(SAID, { steps: [calls("look", ARGUED)] }, { steps: [says(`I see, ${TOLD}.`)] }));
  expect((await chat.ended(done.id)).status).toBe("completed");
  const failed = await ask(say(SAID, { steps: [{ kind: "status", status: 400, body: { error: { message: TOLD } } }] }));
  await chat.settled(failed.id);
  const forked = await forkRun(chat.staff, { runId: done.id, changes: { ...FORKED, message: `${SAID}, again` } });
  await chat.settled(forked.run.id);
  const forkedAgain = await forkRun(chat.staff, { runId: forked.run.id, changes: { ...FORKED, toolResults: {} } });
  await chat.settled(forkedAgain.run.id);

  const key = newId("key");
  const request = { key, route: "POST /test", body: { text: SAID }, status: 202 };
  await idempotent(person, request, (ctx) => createConversation(ctx, {}));
  await idempotent(chat.staff, { ...request, key: newId("key") }, async () => ({
    conversationId: chat.conversationId,
    text: SAID,
  }));
  const forkAnswer = { ...request, key: newId("key") };
  await idempotent(chat.staff, forkAnswer, async () => ({
    run: { conversationId: forkedAgain.run.conversationId },
    text: SAID,
  }));
  await idempotent({ ...chat.staff, actor: { kind: "worker" } }, { ...request, key: newId("key") }, async () => ({
    visitor: { id: visitorOf({ ...chat, visitor: person }), externalId: EXTERNAL },
  }));
  const waiting = await ask(say(SAID, { steps: [calls("send", ARGUED)] }));
  await waitFor(async () => (await getRun(chat.staff, waiting.id)).interrupts.length > 0, {
    describe: "an approval to be asked for",
  });
  const queued = await ask(`${SAID} after that`);
  return { person, runIds: [done.id, failed.id, waiting.id, queued.id] };
}

const withApproval = () =>
  product.chat({ toolkits: [shopToolkit(product.tools.url, { tools: { shop_send: "approve" } })] });

describe("a person who is erased", () => {
  test("leaves nothing readable in any table, while numbering, audit and everybody else's conversations stay", async () => {
    const chat = await withApproval();
    const neighbour = await product.chat();
    await neighbour.answered("what I said stays");
    const { person, runIds } = await fill(chat);
    const visitorId = visitorOf({ ...chat, visitor: person });
    for (const word of WORDS)
      expect([word, (await findInDatabase(product.db, [word])).length > 0]).toEqual([word, true]);

    expect(await eraseVisitor(chat.staff, visitorId)).toEqual({ visitorId, status: "erased" });
    expect(await findInDatabase(product.db, WORDS)).toEqual([]);

    const log = await chat.log();
    const { lastSeq } = await getConversation(chat.staff, chat.conversationId);
    expect(log.map(({ seq }) => seq)).toEqual(Array.from({ length: lastSeq }, (_, index) => index + 1));
    expect(new Set(log.map(({ event }) => JSON.stringify(event)))).toEqual(
      new Set([JSON.stringify({ type: "CUSTOM", name: "hidden", value: {} })]),
    );
    for (const id of runIds) {
      const run = await getRun(chat.staff, id);
      expect(run.finishedAt).not.toBeNull();
      expect(run.interrupts).toEqual([]);
    }
    expect(await verifyAuditLog(chat.staff)).toMatchObject({ valid: true });
    const { rows } = await product.db.query("select from audit_log where target = $1 and action = 'visitor.erased'", [
      visitorId,
    ]);
    expect(rows).toHaveLength(1);
    expect(await neighbour.texts()).toEqual(["All done."]);
    await product.expectSound();
  });

  test("is gone for themselves at once and for staff; again is the same, and nobody new", async () => {
    const chat = await withApproval();
    const { person } = await fill(chat);
    const visitorId = visitorOf({ ...chat, visitor: person });
    const anonymous = visitorOf(chat);
    // By the id they had before they were known, as the customer's staff may have noted it.
    expect(await eraseVisitor(chat.staff, anonymous)).toEqual({ visitorId, status: "erased" });
    const missing = { code: "not_found" };
    await expect(getConversation(person, chat.conversationId)).rejects.toMatchObject(missing);
    await expect(createConversation(person, {})).rejects.toMatchObject(missing);
    const message = { conversationId: chat.conversationId, clientMessageId: "late", text: SAID };
    await expect(submit(person, message)).rejects.toMatchObject(missing);
    for (const id of [visitorId, anonymous]) await expect(getVisitor(chat.staff, id)).rejects.toMatchObject(missing);
    expect((await listVisitors(chat.staff, { limit: 10, cursor: null })).items).toEqual([]);
    expect(await eraseVisitor(chat.staff, visitorId)).toEqual({ visitorId, status: "erased" });
    const { rows } = await product.db.query("select from audit_log where target = $1 and action = 'visitor.erased'", [
      visitorId,
    ]);
    expect(rows).toHaveLength(1);

    const back = await identified(chat);
    expect(back.actor).not.toMatchObject({ visitorId });
    expect(await eraseVisitor(chat.staff, visitorOf({ ...chat, visitor: back }))).toMatchObject({ status: "erased" });
    expect(await findInDatabase(product.db, WORDS)).toEqual([]);
  });

  test("leaves a conversation that a reader in the middle of it goes on reading, and staff go on writing in", async () => {
    const chat = await withApproval();
    const { person } = await fill(chat);
    const before = await chat.state("staff");
    const middle = Math.floor(before.lastSeq / 2);
    await eraseVisitor(chat.staff, visitorOf({ ...chat, visitor: person }));
    const rest = await readEvents(chat.staff, { conversationId: chat.conversationId, after: middle, limit: 10_000 });
    expect(rest[0]).toMatchObject({ from: middle + 1, event: { name: "hidden" } });
    expect(await conversationState(chat.staff, { conversationId: chat.conversationId }, "staff")).toMatchObject({
      messages: [],
      toolCalls: [],
      runs: {},
      activeRunId: null,
    });
    const { run } = await submit(chat.staff, {
      conversationId: chat.conversationId,
      clientMessageId: "after",
      text: "are you there?",
    });
    expect((await chat.ended(run.id)).status).toBe("completed");
    expect(await chat.texts()).toEqual(["All done."]);
    await expect(forkRun(chat.staff, { runId: run.id, changes: FORKED })).rejects.toMatchObject({ code: "conflict" });
    await eraseVisitor(chat.staff, visitorOf({ ...chat, visitor: person }));
    expect(await chat.texts()).toEqual(["All done."]);
  });

  test("stops what is running for them: the worker writes nothing more", async () => {
    const chat = await product.chat();
    const { id } = await chat.ask(say(SAID, { steps: [says(`${TOLD} `), { kind: "hold" }, says(TOLD)] }));
    await waitFor(async () => (await chat.texts()).some((text) => text.includes(TOLD)), {
      describe: "an answer to begin",
    });
    const erased = await eraseVisitor(chat.staff, visitorOf(chat));
    expect(erased.status).toBe("erased");
    expect(await getRun(chat.staff, id)).toMatchObject({ status: "cancelled" });
    for (const request of product.models.requests) request.release();
    await waitFor(() => product.worker?.activeRuns === 0, { describe: "the worker to be idle" });
    expect(await findInDatabase(product.db, [SAID, TOLD])).toEqual([]);
    await product.expectSound();
  });

  test("is erased once though two ask at the same time, while they write in two tabs", async () => {
    const chat = await product.chat();
    await chat.answered(SAID);
    const visitorId = visitorOf(chat);
    const writing = Array.from({ length: 20 }, async (_, n) => {
      const { id } = await createConversation(chat.visitor, {});
      await submit(chat.visitor, { conversationId: id, clientMessageId: `${n}`, text: SAID });
    });
    const erasing = [1, 2].map(() => eraseVisitor(chat.staff, visitorId));
    await Promise.allSettled(writing);
    await Promise.all(erasing);
    await waitFor(async () => (await eraseVisitor(chat.staff, visitorId)).status === "erased", { describe: "the end" });
    await waitFor(() => product.worker?.activeRuns === 0, { describe: "the worker to be idle" });
    expect(await findInDatabase(product.db, [SAID])).toEqual([]);
    await product.expectSound();
  });
});

test("an export holds everything there is about a person, and nothing of others", async () => {
  const chat = await withApproval();
  const neighbour = await product.chat();
  await neighbour.answered("mine alone");
  const { person } = await fill(chat);
  const parts: ExportPart[] = [];
  for await (const part of exportVisitor(chat.staff, visitorOf({ ...chat, visitor: person }))) parts.push(part);
  const text = JSON.stringify(parts);
  for (const word of WORDS) expect([word, text.includes(word)]).toEqual([word, true]);
  expect(text).not.toContain("mine alone");
  const ids = parts.flatMap((each) => (each.part === "conversation" ? [each.value.id] : []));
  // The one they spoke in, the one they opened, and both forks.
  expect(ids).toHaveLength(4);
  await expect(exportVisitor(neighbour.staff, visitorOf({ ...chat, visitor: person })).next()).rejects.toMatchObject({
    code: "not_found",
  });
});

test("no erasure happens but through the verb that puts it on record", async () => {
  const chat = await product.chat();
  await chat.answered("this stays");
  const erase = statement<{ more: boolean }>("erase_conversation", "select erase_conversation($1, $2) as more");
  const direct = () =>
    inTenant(product.services.db, chat.staff.tenantId, (tx) => tx.query(erase, [uuidOf(chat.conversationId), 100]));
  await expect(direct()).rejects.toThrow("no erasure on record");
  const pretend = statement(
    "test_pretend_erasure",
    "insert into erased_conversations (conversation_id, tenant_id, visitor_id) values ($1, $2, $3)",
  );
  await inTenant(product.services.db, chat.staff.tenantId, (tx) =>
    tx.query(pretend, [uuidOf(chat.conversationId), uuidOf(chat.staff.tenantId), uuidOf(visitorOf(chat))]),
  );
  await expect(direct()).rejects.toThrow("no erasure on record");
  const purge = () =>
    product.services.db.pool.query("select purge_deleted_log($1, 100)", [uuidOf(chat.conversationId)]);
  expect((await purge()).rows).toEqual([{ purge_deleted_log: false }]);
  expect((await chat.log()).length).toBeGreaterThan(3);
});
