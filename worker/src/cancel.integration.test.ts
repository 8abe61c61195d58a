import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { isTerminal } from "@agent-engine/protocol/events.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

/** Resolves when the conversation has got so many events. */
async function atEvent(chat: Chat, count: number): Promise<void> {
  const reached = Promise.withResolvers<void>();
  let seen = 0;
  const { leave } = product.services.bus.subscribe(chat.conversationId, ({ events }) => {
    seen += events.length;
    if (seen >= count) reached.resolve();
  });
  const state = await chat.state("staff");
  if (state.lastSeq >= count) reached.resolve();
  await reached.promise;
  leave();
}

const SEED = 20261122;
const eventful = say(
  "Do all",
  {
    gapMs: 1,
    steps: [
      { kind: "tokens", count: 12 },
      calls("look", "a"),
      calls("look", "b"),
      calls("set", "c"),
      calls("send", "d"),
    ],
  },
  { gapMs: 1, steps: [{ kind: "tokens", count: 6 }, calls("send", "e")] },
  { gapMs: 1, steps: [{ kind: "tokens", count: 12 }] },
);

test("whenever a run is cancelled it ends once, everything is closed, and the next message works", async () => {
  const moments = fc.sample(fc.nat(60), { numRuns: 36, seed: SEED });
  const ends: string[] = [];
  const one = async (moment: number) => {
    const chat = await product.chat();
    const { id } = await chat.ask(eventful);
    // A moment that never comes: the run ended first, and is cancelled in vain.
    await Promise.race([atEvent(chat, moment), chat.settled(id)]);
    const [answer, again] = await Promise.all([chat.cancel(id), chat.cancel(id)]);
    expect(again).toEqual(answer);
    const next = await chat.answered("And now?");
    expect(next, `after ${moment} events`).toMatchObject({ status: "completed" });

    const events = await chat.events(id);
    expect(events.filter(isTerminal), `after ${moment} events`).toHaveLength(1);
    const { status } = await getRun(chat.staff, id);
    const last = events.at(-1);
    expect(last).toMatchObject({ outcome: { type: status === "completed" ? "success" : "cancelled" } });
    const state = await chat.state("staff");
    expect(state.messages.filter((message) => message.status === "streaming")).toEqual([]);
    expect(state.toolCalls.filter(({ status, result }) => status !== "done" || result === null)).toEqual([]);
    expect((await chat.texts()).at(-1)).toBe("All done.");
    const rows = await chat.invocations(id);
    expect(rows.filter((row) => row.effect === "write" && row.status === "started")).toEqual([]);
    ends.push(status);
  };
  for (let from = 0; from < moments.length; from += 6) await Promise.all(moments.slice(from, from + 6).map(one));
  // The moments are worth something: most of them were in the middle of a run.
  expect(ends.filter((status) => status === "cancelled").length).toBeGreaterThan(moments.length / 2);
});

test("in the middle of a write: it is not made again, and that nobody knows is on record", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults({ kind: "hang", when: "after" });
  const { id } = await chat.ask(say("Send it", { steps: [says("Sending. "), calls("send", "midway")] }));
  const isMidway = () => product.tools.ledger.some(({ body }) => JSON.stringify(body).includes("midway"));
  await waitFor(isMidway, { describe: "the write to be on its way" });
  expect(await chat.cancel(id)).toMatchObject({ status: "cancelled" });
  expect(await chat.invocations(id)).toMatchObject([{ status: "outcome_unknown", attempts: 1 }]);
  expect((await chat.state("staff")).toolCalls).toMatchObject([
    { status: "done", result: expect.stringContaining("cancelled") },
  ]);
  expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
  expect(product.tools.ledger.filter(({ body }) => JSON.stringify(body).includes("midway"))).toHaveLength(1);
});

test("while it waits in the queue: it never asks a model, and the one behind it goes", async () => {
  const chat = await product.chat();
  const first = await chat.ask(say("First", { gapMs: 5, steps: [{ kind: "tokens", count: 40 }] }));
  const second = await chat.ask("Second");
  const third = await chat.ask("Third");
  expect(await chat.cancel(second.id)).toMatchObject({ status: "cancelled", attempt: 0 });
  expect(await chat.ended(first.id)).toMatchObject({ status: "completed" });
  expect(await chat.ended(third.id)).toMatchObject({ status: "completed" });
  expect(chat.requests("Second")).toEqual([]);
});

test("in the middle of its second turn: the model is hung up on, and what the finished step used is on record", async () => {
  const chat = await product.chat();
  const second = { steps: [says("It begins "), { kind: "hold" as const }, says("and never ends")] };
  const { id } = await chat.ask(say("Do it", { steps: [calls("look", "x")] }, second));
  const turns = await waitFor(
    () => {
      const requests = chat.requests("Do it");
      return requests[1]?.tokensSent ? requests : null;
    },
    { describe: "the second turn to be under way" },
  );
  await waitFor(async () => (await chat.texts()).join("") !== "", { describe: "the visitor to read its beginning" });
  const cancelled = await chat.cancel(id);
  await turns[1]?.ended;
  expect(turns[1]?.end).toBe("client_gone");
  expect(cancelled).toMatchObject({
    status: "cancelled",
    usage: [{ provider: "openai", model: "test-model", outputTokens: expect.any(Number) }],
  });
  const { rows } = await product.db.query("select usage from steps where run_id = $1", [id.slice(4)]);
  expect(rows).toEqual([{ usage: cancelled.usage }]);
  expect((await chat.state("all")).runs[id]).toMatchObject({ status: "cancelled", usage: cancelled.usage });
  expect((await chat.state("all")).messages.at(-1)).toMatchObject({ text: "It begins ", status: "incomplete" });
  expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
});

test("with calls that were never answered: the next message's prompt answers each, or the model would refuse it", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults({ kind: "hang", when: "after" }, { kind: "hang", when: "after" });
  const { id } = await chat.ask(say("All", { steps: [calls("look", "1"), calls("look", "2"), calls("send", "3")] }));
  await waitFor(async () => (await chat.invocations(id)).filter(({ status }) => status === "started").length >= 2, {
    describe: "calls to be under way",
  });
  await chat.cancel(id);
  expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
  const { messages } = chat.requests("And now?")[0]?.body ?? { messages: [] };
  const asked = messages.flatMap((message) => message.tool_calls ?? []).map((call) => call.id);
  const answered = messages.filter(({ role }) => role === "tool").map((message) => message.tool_call_id);
  expect(asked).toHaveLength(3);
  expect(answered).toEqual(asked);
  const bare = messages.filter(({ role }) => role !== "tool");
  const refused = await fetch(`${product.models.url}/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "test-model", messages: bare }),
  });
  expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("tool_call_ids")]);
});
