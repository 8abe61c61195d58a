import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { textOf } from "@agent-engine/testing/chat-request.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { ToolFault } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { calls, says, shopToolkit, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const keyOf = (runId: string, step: number, call: number) =>
  createHash("sha256").update(`${runId}:${step}:${call}`).digest("hex");

const ledgerOf = (key: string) => product.tools.ledger.filter((call) => call.key === key);

/** What the model was given as results of its calls, in order. */
function resultsGiven(chat: Chat, question: string): string[] {
  const messages = chat.requests(question).at(-1)?.body.messages ?? [];
  return messages.filter((message) => message.role === "tool").map(textOf);
}

test.each([
  ["look", "read", null],
  ["set", "idempotent", "key"],
  ["send", "write", "key"],
] as const)("a tool that is called: %s (%s)", async (name, effect, header) => {
  const chat = await product.chat();
  const value = `once-${name}`;
  const question = say(
    `Use ${name}`,
    { steps: [says("Let me see. "), calls(name, value)] },
    { steps: [says("Done.")] },
  );
  const run = await chat.answered(question);

  expect(run).toMatchObject({ status: "completed", finishReason: "stop" });
  expect(await chat.texts()).toEqual(["Let me see. ", "Done."]);
  const key = keyOf(run.id, 0, 0);
  expect(await chat.invocations(run.id)).toMatchObject([
    { tool: `shop_${name}`, effect, key, status: "succeeded", attempts: 1 },
  ]);
  const made = product.tools.ledger.filter((call) => JSON.stringify(call).includes(value));
  expect(made).toMatchObject([{ effect, key: header && key, outcome: "applied" }]);
  expect(resultsGiven(chat, `Use ${name}`)).toEqual([expect.stringContaining('"ok":true')]);

  const { rows } = await product.db.query(
    "select step_index, key, status, text, message_id is not null as has_message, usage from steps where run_id = $1 order by 1",
    [uuidOf(run.id)],
  );
  const oneTurn = [{ provider: "openai", model: "test-model", outputTokens: expect.any(Number) }];
  expect(rows).toMatchObject([
    { step_index: 0, key: `${run.id}:0`, status: "finished", text: "Let me see. ", usage: oneTurn },
    { step_index: 1, key: `${run.id}:1`, status: "finished", text: "Done.", has_message: true, usage: oneTurn },
  ]);
  const outputTokens = rows[0].usage[0].outputTokens + rows[1].usage[0].outputTokens;
  expect(run.usage).toMatchObject([{ provider: "openai", outputTokens }]);
  expect(await chat.events(run.id)).toContainEqual(expect.objectContaining({ type: "RUN_FINISHED", usage: run.usage }));
});

test("a visitor sees that a tool is called, and neither what went in nor what came out", async () => {
  const chat = await product.chat();
  await chat.answered(say("Look", { steps: [calls("look", "secret-argument")] }, { steps: [says("Done.")] }));
  const seen = await chat.state("all");
  expect(seen.toolCalls).toMatchObject([{ name: "shop_look", args: "", result: null, status: "done" }]);
  expect(JSON.stringify(seen.toolCalls)).not.toContain("secret-argument");
  const [call] = (await chat.state("staff")).toolCalls;
  expect(call).toMatchObject({ status: "done", args: '{"value":"secret-argument"}' });
  expect(call?.result).toContain('"ok":true');
});

test("a turn that says nothing leaves a step without text", async () => {
  const chat = await product.chat();
  const run = await chat.answered(
    say(
      "Be brief",
      { steps: [says("One moment. "), calls("look", "a")] },
      { steps: [{ kind: "finish", reason: "stop" }] },
    ),
  );
  expect(run.status).toBe("completed");
  const { rows } = await product.db.query("select text, message_id from steps where run_id = $1 order by step_index", [
    uuidOf(run.id),
  ]);
  expect(rows).toMatchObject([{ text: "One moment. " }, { text: "", message_id: null }]);
});

test("a tool's refusal is read by the model, which goes on", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults({ kind: "error", when: "before", status: 404, body: { error: "no such order" } });
  const run = await chat.answered(say("Refuse", { steps: [calls("send", "x")] }, { steps: [says("I could not.")] }));
  expect(run.status).toBe("completed");
  expect(resultsGiven(chat, "Refuse")).toEqual([JSON.stringify({ status: 404, error: { error: "no such order" } })]);
  expect(await chat.invocations(run.id)).toMatchObject([
    { status: "failed", attempts: 1, outcome: { failure: { code: "refused" } } },
  ]);
});

test("calls that cannot be made are answered at once and leave no invocation", async () => {
  const chat = await product.chat();
  const run = await chat.answered(
    say(
      "Confuse",
      {
        steps: [
          { kind: "toolCall", name: "shop_fly", arguments: {} },
          { kind: "toolCall", name: "shop_look", arguments: { value: 7 } },
          { kind: "toolCall", name: "shop_look", arguments: '{"value": "a' },
        ],
      },
      { steps: [says("Sorry.")] },
    ),
  );
  expect(run.status).toBe("completed");
  expect(await chat.invocations(run.id)).toEqual([]);
  expect(resultsGiven(chat, "Confuse")).toEqual([
    expect.stringContaining("no such tool"),
    expect.stringContaining("do not fit"),
    expect.stringContaining("not valid JSON"),
  ]);
});

test("calls of one turn each have their key and their result", async () => {
  const chat = await product.chat();
  const run = await chat.answered(
    say(
      "Many",
      {
        steps: [calls("look", "p1"), calls("look", "p2"), calls("set", "p3"), calls("send", "p4"), calls("send", "p5")],
      },
      { steps: [says("All five.")] },
    ),
  );
  expect((await chat.invocations(run.id)).map(({ key }) => key)).toEqual(
    [0, 1, 2, 3, 4].map((i) => keyOf(run.id, 0, i)),
  );
  const given = resultsGiven(chat, "Many");
  for (const [index, value] of ["p1", "p2", "p3", "p4", "p5"].entries()) expect(given[index]).toContain(value);
  const changes = product.tools.ledger.filter(
    ({ key }) => key !== null && [2, 3, 4].some((i) => key === keyOf(run.id, 0, i)),
  );
  expect(changes.map(({ body }) => body)).toEqual([{ value: "p3" }, { value: "p4" }, { value: "p5" }]);
});

test("ten reads of one turn are all under way before any is answered", async () => {
  const patient = shopToolkit(product.tools.url);
  const chat = await product.chat({
    toolkits: [{ ...patient, settings: { ...patient.settings, timeoutMs: 60_000 } }],
  });
  const gate = Promise.withResolvers<void>();
  product.tools.enqueueFaults(...Array.from({ length: 10 }, () => ({ kind: "gate" as const, opened: gate.promise })));
  const values = Array.from({ length: 10 }, (_, index) => `beside-${index}`);
  const { id } = await chat.ask(
    say("Ten", { steps: values.map((value) => calls("look", value)) }, { steps: [says("All ten.")] }),
  );
  const made = () => product.tools.ledger.filter(({ path }) => path.startsWith("/look?value=beside-"));
  try {
    await waitFor(() => made().length === 10, { describe: "ten calls under way" });
    expect(made().filter(({ outcome }) => outcome !== "none")).toEqual([]);
  } finally {
    gate.resolve();
  }
  expect(await chat.settled(id)).toMatchObject({ status: "completed", attempt: 1 });
  expect(
    made()
      .map(({ path }) => path)
      .sort(),
  ).toEqual(values.map((value) => `/look?value=${value}`));
  const given = resultsGiven(chat, "Ten");
  for (const [index, value] of values.entries()) expect(given[index]).toContain(value);
});

test.each<[string, ToolFault]>([
  ["an error before its effect", { kind: "error", when: "before", status: 503 }],
  ["a cut before its effect", { kind: "cut", when: "before" }],
  ["an error after its effect", { kind: "error", when: "after", status: 500 }],
  ["a cut after its effect", { kind: "cut", when: "after" }],
  ["no answer after its effect", { kind: "hang", when: "after" }],
  ["a rate limit", { kind: "rateLimited", retryAfterSeconds: 0 }],
])("an idempotent tool is tried again with its key after %s", async (_, fault) => {
  const chat = await product.chat();
  product.tools.enqueueFaults(fault);
  const run = await chat.answered(
    say("Set it", { steps: [says("Now. "), calls("set", "v")] }, { steps: [says("Set.")] }),
  );
  expect(run).toMatchObject({ status: "completed", attempt: 1 });
  const key = keyOf(run.id, 0, 0);
  expect(ledgerOf(key)).toHaveLength(2);
  expect(product.tools.effectsOf(key)).toBe(1);
  expect(await chat.invocations(run.id)).toMatchObject([{ key, status: "succeeded", attempts: 2 }]);
  expect(await chat.texts()).toEqual(["Now. ", "Set."]);
  expect(await chat.events(run.id)).toContainEqual(expect.objectContaining({ type: "CUSTOM", name: "run.retrying" }));
  expect((await chat.state("all")).runs[run.id]).toMatchObject({ status: "completed" });
});

test("a write is sent again only when it never left: nothing listened", async () => {
  const chat = await product.chat({ toolkits: [shopToolkit(`http://127.0.0.1:${await freePort()}`)] });
  const run = await chat.answered(say("Send it", { steps: [calls("send", "v")] }));
  expect(run).toMatchObject({
    status: "waiting",
    interrupts: [{ reason: "operator", metadata: { outcome: "not_done", code: "connection_failed", attempts: 3 } }],
  });
  await chat.decide(run, "abort");
});

test("an agent's limits end its run as finished, with the reason", async () => {
  const steps = await product.chat({ limits: { maxSteps: 2, maxTokens: 10_000, maxCostMicros: null, maxSeconds: 60 } });
  const again = { steps: [calls("look", "again")] };
  const run = await steps.answered(say("Loop", again, again, again, again));
  expect(run).toMatchObject({ status: "completed", finishReason: "limit" });
  expect(steps.requests("Loop")).toHaveLength(2);
  expect(await steps.invocations(run.id)).toHaveLength(2);
  expect((await steps.state("all")).runs[run.id]).toMatchObject({ status: "completed", finishReason: "limit" });

  const tokens = await product.chat({ limits: { maxSteps: 9, maxTokens: 1, maxCostMicros: null, maxSeconds: 60 } });
  expect(await tokens.answered(say("Spend", again, again))).toMatchObject({
    status: "completed",
    finishReason: "limit",
  });
  expect(tokens.requests("Spend")).toHaveLength(1);

  const time = await product.chat({ limits: { maxSteps: 9, maxTokens: 10_000, maxCostMicros: null, maxSeconds: 1 } });
  const slow = { gapMs: 50, steps: [{ kind: "tokens" as const, count: 1_000 }] };
  expect(await time.answered(say("Talk", slow))).toMatchObject({ status: "completed", finishReason: "limit" });
  expect((await time.state("all")).messages.at(-1)).toMatchObject({ status: "incomplete" });
});
