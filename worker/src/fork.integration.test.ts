import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { forkRun } from "@agent-engine/core/runs/fork-run.ts";
import type { ForkChanges } from "@agent-engine/core/runs/fork-settings.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { listConversations } from "@agent-engine/core/conversations/list-conversations.ts";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { textOf, type RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import { storedEvents } from "@agent-engine/testing/invariants.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { createTestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { calls, says, shopToolkit, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const DEFAULTS: ForkChanges = { reuseToolResults: true, allowSideEffects: false };

async function fork(chat: Chat, runId: string, changes: Partial<ForkChanges> = {}, atSeq?: number): Promise<Run> {
  const forked = await forkRun(chat.staff, {
    runId,
    ...(atSeq === undefined ? {} : { atSeq }),
    changes: { ...DEFAULTS, ...changes },
  });
  return chat.settled(forked.run.id);
}

const stateOf = async ({ conversationId }: Run): Promise<ConversationState> =>
  reduce(initialState, await storedEvents(product.db, conversationId));

async function seqOf(chat: Chat, isIt: (event: ConversationEvent) => boolean): Promise<number> {
  const found = (await chat.log()).findLast(({ event }) => isIt(event));
  if (!found) throw new Error("there is no such event");
  return found.seq;
}

const callsWith = (value: string) => product.tools.ledger.filter((call) => JSON.stringify(call).includes(value));

/** What models were asked about a message, newest last: forks ask with the same text. */
const requestsOf = (tag: string): RecordedRequest[] =>
  product.models.requests.filter(({ body }) => body.messages.some((message) => textOf(message).includes(tag)));

const toolResultsOf = (request: RecordedRequest | undefined): string[] =>
  (request?.body.messages ?? []).filter(({ role }) => role === "tool").map(textOf);

interface Row {
  tool: string;
  status: string;
  attempts: number;
  reused_from: string | null;
  idempotency_key: string;
}

async function rowsOf(runId: string): Promise<Row[]> {
  const { rows } = await product.db.query<Row>(
    `select tool, status, attempts, reused_from, idempotency_key from tool_invocations where run_id = $1
     order by step_index, call_index`,
    [uuidOf(runId)],
  );
  return rows;
}

let questions = 0;

/** Two steps with a call each, a write and an idempotent one, then the answer. */
function twoSteps(): { text: string; tag: string } {
  const tag = `fork-${++questions}`;
  const text = say(
    `Question ${tag}`,
    { steps: [says("First. "), calls("send", `${tag} a`)] },
    { steps: [says("Second. "), calls("set", `${tag} b`)] },
    { steps: [says("Done.")] },
  );
  return { text, tag };
}

describe("a fork of a run that has ended", () => {
  test("from its beginning runs again with other instructions, and calls nothing", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const before = await chat.log();
    expect(callsWith(tag)).toHaveLength(2);

    const forked = await fork(chat, run.id, { instructions: "Speak like a pirate." });
    expect(forked).toMatchObject({
      status: "completed",
      agentId: run.agentId,
      forkedFrom: { runId: run.id, conversationId: chat.conversationId, seq: expect.any(Number) },
    });
    expect(forked.conversationId).not.toBe(chat.conversationId);
    expect(callsWith(tag)).toHaveLength(2);
    const originals = await rowsOf(run.id);
    const rows = await rowsOf(forked.id);
    expect(rows).toMatchObject([
      { tool: "shop_send", status: "succeeded", attempts: 0, reused_from: originals[0]?.idempotency_key },
      { tool: "shop_set", status: "succeeded", attempts: 0, reused_from: originals[1]?.idempotency_key },
    ]);
    expect(rows.map(({ idempotency_key }) => idempotency_key)).not.toContain(originals[0]?.idempotency_key);
    const requests = requestsOf(tag);
    expect(requests).toHaveLength(6);
    const system = requests.map(({ body }) => textOf(body.messages[0] ?? { role: "system" }).includes("pirate"));
    expect(system).toEqual([false, false, false, true, true, true]);

    const log = await storedEvents(product.db, forked.conversationId);
    const results = log.filter(({ event }) => event.type === "TOOL_CALL_RESULT").map(({ event }) => event);
    const originalCalls = (await chat.state("staff")).toolCalls;
    expect(results).toMatchObject(
      originalCalls.map(({ id, result }) => ({ content: result, metadata: { agentEngine: { reusedFrom: id } } })),
    );
    expect(await chat.log()).toEqual(before);
    expect(JSON.stringify(log.filter(({ event }) => event.type !== "CUSTOM"))).not.toContain(run.id);
  });

  test("belongs to nobody but staff", async () => {
    const chat = await product.chat();
    const run = await chat.answered(twoSteps().text);
    const forked = await fork(chat, run.id);
    expect(await getConversation(chat.staff, forked.conversationId)).toMatchObject({
      visitorId: null,
      forkedFrom: { runId: run.id, conversationId: chat.conversationId },
    });
    await expect(getConversation(chat.visitor, forked.conversationId)).rejects.toMatchObject({ code: "not_found" });
    await expect(getRun(chat.visitor, forked.id)).rejects.toMatchObject({ code: "not_found" });
    const own = await listConversations(chat.visitor, { limit: 10, cursor: null });
    expect(own.items.map(({ id }) => id)).toEqual([chat.conversationId]);
    const other = await createTestTenant(product.services);
    await expect(forkRun(other.ctx, { runId: run.id, changes: DEFAULTS })).rejects.toMatchObject({ code: "not_found" });
  });

  test("goes on at a step's calls with a changed result", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const [first, second] = (await chat.state("staff")).toolCalls;
    const atCall = await seqOf(chat, (event) => event.type === "TOOL_CALL_END" && event.toolCallId === first?.id);
    const atResult = await seqOf(chat, (event) => event.type === "TOOL_CALL_RESULT" && event.toolCallId === first?.id);
    for (const atSeq of [atCall, atResult]) {
      const asked = requestsOf(tag).length;
      const forked = await fork(chat, run.id, { toolResults: { [first?.id ?? ""]: "nothing was sent" } }, atSeq);
      expect(forked.status).toBe("completed");
      // The first turn stands: the model is asked for the other two.
      const requests = requestsOf(tag).slice(asked);
      expect(requests.map(({ turn }) => turn)).toEqual([1, 2]);
      expect(toolResultsOf(requests[0])).toEqual(["nothing was sent"]);
      expect(toolResultsOf(requests[1])).toEqual(["nothing was sent", second?.result]);
      expect(callsWith(tag)).toHaveLength(2);
      expect((await stateOf(forked)).messages.map((message) => message.text)).toEqual([
        expect.stringContaining(tag),
        "First. ",
        "Second. ",
        "Done.",
      ]);
      const log = await storedEvents(product.db, forked.conversationId);
      expect(log.map(({ event }) => event)).toContainEqual(
        expect.objectContaining({
          type: "TOOL_CALL_RESULT",
          content: "nothing was sent",
          metadata: { agentEngine: { reusedFrom: first?.id, isGiven: true } },
        }),
      );
      expect(forked.usage[0]?.outputTokens).toBeLessThan(run.usage[0]?.outputTokens ?? 0);
    }
  });

  test("makes its last turn again when forked at its end", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const forked = await fork(
      chat,
      run.id,
      { model: { provider: "auto", name: "another", settings: {} } },
      (await chat.log()).length,
    );
    expect(forked.status).toBe("completed");
    expect(requestsOf(tag).map(({ turn, body }) => [turn, body.model])).toEqual([
      [0, "test-model"],
      [1, "test-model"],
      [2, "test-model"],
      [2, "another"],
    ]);
    expect((await stateOf(forked)).messages.map((message) => message.text).slice(1)).toEqual([
      "First. ",
      "Second. ",
      "Done.",
    ]);
    expect(callsWith(tag)).toHaveLength(2);
  });

  test("answers another message", async () => {
    const chat = await product.chat();
    const run = await chat.answered("What do you sell?");
    const forked = await fork(chat, run.id, { message: "What do you buy?" });
    const { messages } = await stateOf(forked);
    expect(messages.map(({ role, text }) => [role, text])).toEqual([
      ["user", "What do you buy?"],
      ["assistant", "All done."],
    ]);
  });

  test("keeps the conversation before it, and nothing after it", async () => {
    const chat = await product.chat();
    await chat.answered("One");
    const second = await chat.answered("Two");
    await chat.answered("Three");
    const forked = await fork(chat, second.id);
    const said = (await stateOf(forked)).messages.map(({ text }) => text.replace(/^\S+ /, ""));
    expect(said).toEqual(["One", "done.", "Two", "done."]);
    expect(product.models.requests.at(-1)?.body.messages.map(({ role }) => role)).toEqual([
      "system",
      "user",
      "assistant",
      "user",
    ]);
  });

  test("can be forked itself, and reuses what the first original was answered", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const [first] = (await chat.state("staff")).toolCalls;
    const atSeq = await seqOf(chat, (event) => event.type === "TOOL_CALL_END" && event.toolCallId === first?.id);
    const child = await fork(chat, run.id, {}, atSeq);
    const grandchild = await fork(chat, child.id);
    expect(grandchild).toMatchObject({ status: "completed", forkedFrom: { runId: child.id } });
    expect((await rowsOf(grandchild.id)).map(({ reused_from }) => reused_from)).toEqual(
      (await rowsOf(child.id)).map(({ idempotency_key }) => idempotency_key),
    );
    expect(callsWith(tag)).toHaveLength(2);
    const log = await storedEvents(product.db, grandchild.conversationId);
    expect(log.filter(({ event }) => event.type === "CUSTOM" && event.name === "run.forked")).toHaveLength(1);
  });
});

describe("a call that the original did not make", () => {
  const other = (tag: string, name: "look" | "set" | "send") =>
    say(`Instead ${tag}`, { steps: [says("Well. "), calls(name, `${tag} other`)] }, { steps: [says("Done.")] });

  test("is made when it only reads", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const forked = await fork(chat, run.id, { message: other(tag, "look") });
    expect(forked.status).toBe("completed");
    expect(await rowsOf(forked.id)).toMatchObject([{ tool: "shop_look", attempts: 1, reused_from: null }]);
    expect(callsWith(`${tag}+other`).concat(callsWith(`${tag}%20other`))).toHaveLength(1);
  });

  test.each(["set", "send"] as const)("waits for an approval when it changes something: %s", async (name) => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const forked = await fork(chat, run.id, { message: other(tag, name) });
    expect(forked).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
    expect(callsWith(`${tag} other`)).toHaveLength(0);
    const [interrupt] = forked.interrupts;
    await resumeRun(chat.staff, { runId: forked.id, interruptId: interrupt?.id ?? "", decision: "approve" });
    expect(await chat.ended(forked.id)).toMatchObject({ status: "completed" });
    expect(callsWith(`${tag} other`)).toHaveLength(1);
  });

  test("is made when the caller allows side effects", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const forked = await fork(chat, run.id, { message: other(tag, "send"), allowSideEffects: true });
    expect(forked.status).toBe("completed");
    expect(callsWith(`${tag} other`)).toHaveLength(1);
    expect(callsWith(tag)).toHaveLength(3);
  });

  test("is every call without reuse, but for the results that are given", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const [first] = (await chat.state("staff")).toolCalls;
    const given = { [first?.id ?? ""]: "given" };
    const forked = await fork(chat, run.id, { reuseToolResults: false, toolResults: given });
    expect(forked).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
    expect(await rowsOf(forked.id)).toMatchObject([
      { tool: "shop_send", status: "succeeded", attempts: 0 },
      { tool: "shop_set", status: "intended", attempts: 0, reused_from: null },
    ]);
    expect(callsWith(tag)).toHaveLength(2);
    expect(await chat.cancel(run.id)).toMatchObject({ status: "completed" });
  });

  test("is one more call than was recorded", async () => {
    const chat = await product.chat();
    const tag = `fork-${++questions}`;
    const twice = (n: number) =>
      say(
        `Twice ${tag}`,
        { steps: Array.from({ length: n }, () => calls("look", `${tag} same`)) },
        { steps: [says("Done.")] },
      );
    const run = await chat.answered(twice(2));
    expect(callsWith(tag)).toHaveLength(2);
    const forked = await fork(chat, run.id, { message: twice(3) });
    const originals = await rowsOf(run.id);
    expect((await rowsOf(forked.id)).map(({ reused_from }) => reused_from)).toEqual([
      originals[0]?.idempotency_key,
      originals[1]?.idempotency_key,
      null,
    ]);
    expect(callsWith(tag)).toHaveLength(3);
  });
});

describe("a fork of a run", () => {
  test("that waits for an approval asks again, for itself", async () => {
    const chat = await product.chat({ toolkits: [shopToolkit(product.tools.url, { defaultPolicy: "approve" })] });
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    expect(run.status).toBe("waiting");
    const forked = await fork(chat, run.id, {}, (await chat.log()).length);
    expect(forked).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
    expect(forked.interrupts[0]?.id).not.toBe(run.interrupts[0]?.id);
    // The original is decided; the fork finds the call made, and makes it no more.
    await chat.decide(run, "approve");
    expect(callsWith(tag)).toHaveLength(1);
    const [interrupt] = forked.interrupts;
    await resumeRun(chat.staff, { runId: forked.id, interruptId: interrupt?.id ?? "", decision: "approve" });
    await waitFor(async () => (await rowsOf(forked.id))[0]?.status === "succeeded", { describe: "the first call" });
    const [original] = await rowsOf(run.id);
    expect((await rowsOf(forked.id))[0]).toMatchObject({ attempts: 0, reused_from: original?.idempotency_key });
    expect(callsWith(tag)).toHaveLength(1);
    await chat.settled(forked.id);
  });

  test("that is in the middle of a sentence makes the turn again", async () => {
    const chat = await product.chat();
    const tag = `fork-${++questions}`;
    const run = await chat.ask(say(`Hold ${tag}`, { steps: [says("Half a "), { kind: "hold" }, says("sentence.")] }));
    await waitFor(async () => (await chat.texts()).includes("Half a "), { describe: "half a sentence" });
    const atSeq = (await chat.log()).length;
    const forking = fork(chat, run.id, {}, atSeq);
    await waitFor(() => requestsOf(tag).length === 2, { describe: "the fork to ask the model" });
    for (const request of requestsOf(tag)) request.release();
    const forked = await forking;
    expect(forked.status).toBe("completed");
    expect((await stateOf(forked)).messages.map(({ text }) => text).slice(1)).toEqual(["Half a sentence."]);
    expect(await chat.ended(run.id)).toMatchObject({ status: "completed" });
  });

  test("that was cancelled amid its calls goes on as if it had not been", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    product.tools.enqueueFaults({ kind: "hang", when: "after" });
    const run = await chat.ask(text);
    await waitFor(() => callsWith(tag).length === 1, { describe: "the call" });
    await chat.cancel(run.id);
    const atEnd = (await chat.log()).length;
    const forked = await fork(chat, run.id, {}, atEnd);
    // Nobody knows what the write did, so a person is asked before it is made again.
    expect(forked).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
    expect(callsWith(tag)).toHaveLength(1);
  });

  test("that failed", async () => {
    const chat = await product.chat();
    const tag = `fork-${++questions}`;
    const run = await chat.answered(
      say(`Fail ${tag}`, [{ steps: [{ kind: "status", status: 401 }] }, { steps: [says("Now.")] }]),
    );
    expect(run.status).toBe("failed");
    const forked = await fork(chat, run.id, {}, (await chat.log()).length);
    expect(forked.status).toBe("completed");
  });

  test("that waits in the queue leaves out what was not yet said before it", async () => {
    const chat = await product.chat();
    const tag = `fork-${++questions}`;
    const first = await chat.ask(say(`Hold ${tag}`, { steps: [says("So "), { kind: "hold" }, says("far.")] }));
    await waitFor(async () => (await chat.texts()).includes("So "), { describe: "the first answer" });
    const second = await chat.ask("And then?");
    const forked = await fork(chat, second.id);
    expect(forked.status).toBe("completed");
    const state = await stateOf(forked);
    expect(state.messages.map(({ text, status }) => [text.replace(/^\S+ .*@@.*$/, "…"), status]).slice(1)).toEqual([
      ["So ", "incomplete"],
      [expect.stringContaining("And then?"), "complete"],
      ["All done.", "complete"],
    ]);
    const other = await fork(chat, first.id, { message: "Short" }, (await chat.log()).length);
    expect((await stateOf(other)).messages.map(({ text }) => text)).toEqual(["Short", "All done."]);
    for (const request of requestsOf(tag)) request.release();
    await chat.ended(first.id);
    await chat.ended(second.id);
  });

  test("refuses an event outside of the run, and a call that is not its own", async () => {
    const chat = await product.chat();
    await chat.answered("One");
    const run = await chat.answered("Two");
    const own = (await chat.log()).filter(({ runId }) => runId === run.id);
    const first = own[0]?.seq ?? 0;
    const last = own.at(-1)?.seq ?? 0;
    for (const atSeq of [1, first - 1, last + 1]) {
      await expect(forkRun(chat.staff, { runId: run.id, atSeq, changes: DEFAULTS })).rejects.toMatchObject({
        code: "invalid_request",
        detail: expect.stringMatching(new RegExp(`from ${first}, .* to ${last}, its last event\\.`)),
      });
    }
    const toolResults = { call_00000000000000000000000000000000: "x" };
    const changes = { ...DEFAULTS, toolResults };
    await expect(forkRun(chat.staff, { runId: run.id, changes })).rejects.toMatchObject({
      code: "invalid_request",
      detail: expect.stringContaining("call_00000000000000000000000000000000"),
    });
  });

  test("works at every event of it", async () => {
    const chat = await product.chat();
    const { text, tag } = twoSteps();
    const run = await chat.answered(text);
    const length = (await chat.log()).length;
    for (let atSeq = 1; atSeq <= length; atSeq++) {
      const forked = await fork(chat, run.id, {}, atSeq);
      expect([atSeq, forked.status]).toEqual([atSeq, "completed"]);
      expect((await stateOf(forked)).messages.map((message) => message.text).slice(1)).toEqual([
        "First. ",
        "Second. ",
        "Done.",
      ]);
      expect((await rowsOf(forked.id)).every(({ reused_from }) => reused_from !== null)).toBe(true);
    }
    expect(callsWith(tag)).toHaveLength(2);
  });
});
