import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startMortalWorker, type Death } from "./mortal-worker-fixture.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const keyOf = (run: Run) => createHash("sha256").update(`${run.id}:0:0`).digest("hex");
const ledgerOf = (run: Run, value: string) =>
  product.tools.ledger.filter((call) => call.key === keyOf(run) || call.path.endsWith(value));

/** Gives the run to worker after worker until it is settled; each dies as it is told, the last one lives. */
async function live(chat: Chat, run: Run, ...deaths: Death[]): Promise<Run> {
  for (const death of deaths) {
    const worker = await startMortalWorker(product, run.id, death);
    expect(await worker?.ended, `dies ${death.when} ${death.at}`).toBe("died");
  }
  await (
    await startMortalWorker(product, run.id)
  )?.ended;
  return getRun(chat.staff, run.id);
}

const tool = { look: "read", set: "idempotent", send: "write" } as const;
type Name = keyof typeof tool;

/** A question whose first turn speaks and calls a tool, and whose second turn answers. */
const question = (name: Name, value: string) =>
  say("Please", { steps: [says("One moment. "), calls(name, value)] }, { steps: [says("Here you are.")] });

const TEXTS = ["One moment. ", "Here you are."];

describe("a worker that dies", () => {
  test.each<[string, Death, Name, { calls: number; turns: number }]>([
    ["before the turn is recorded", { at: "tool_step_insert", when: "before" }, "set", { calls: 1, turns: 3 }],
    ["once the turn is recorded", { at: "tool_step_insert", when: "after" }, "set", { calls: 1, turns: 2 }],
    ["once the turn is recorded", { at: "tool_step_insert", when: "after" }, "send", { calls: 1, turns: 2 }],
    ["before a call is begun", { at: "invocation_begin", when: "before" }, "send", { calls: 1, turns: 2 }],
    ["once a call is begun", { at: "invocation_begin", when: "after" }, "look", { calls: 1, turns: 2 }],
    ["once a call is begun", { at: "invocation_begin", when: "after" }, "set", { calls: 1, turns: 2 }],
    [
      "between a call's success and its record",
      { at: "invocation_finish", when: "before" },
      "look",
      { calls: 2, turns: 2 },
    ],
    [
      "between a call's success and its record",
      { at: "invocation_finish", when: "before" },
      "set",
      { calls: 2, turns: 2 },
    ],
    ["once a result is recorded", { at: "invocation_finish", when: "after" }, "look", { calls: 1, turns: 2 }],
    ["once a result is recorded", { at: "invocation_finish", when: "after" }, "send", { calls: 1, turns: 2 }],
    ["before the end", { at: "end_run", when: "before" }, "send", { calls: 1, turns: 3 }],
  ])("%s: %o of %s", async (_, death, name, expected) => {
    const chat = await product.chat();
    const value = `${death.at}-${death.when}-${name}`;
    const run = await live(chat, await chat.ask(question(name, value)), death);
    expect(run).toMatchObject({ status: "completed", finishReason: "stop", attempt: 2 });
    const made = ledgerOf(run, value);
    expect(made).toHaveLength(expected.calls);
    expect(made.filter(({ outcome }) => outcome === "applied")).toHaveLength(name === "look" ? expected.calls : 1);
    expect(chat.requests("Please")).toHaveLength(expected.turns);
    expect(await chat.texts()).toEqual(TEXTS);
    expect(await chat.invocations(run.id)).toMatchObject([{ key: keyOf(run), status: "succeeded" }]);
    expect(await chat.events(run.id)).toContainEqual(
      expect.objectContaining({ name: "run.retrying", value: { attempt: 2, delayMs: 0, reason: "worker_lost" } }),
    );
    expect(run.usage).toHaveLength(1);
    const { rows } = await product.db.query(
      "select sum((usage->0->>'outputTokens')::int)::int as tokens, array_agg(status) as statuses from steps where run_id = $1",
      [run.id.slice(4)],
    );
    expect(rows).toEqual([{ tokens: run.usage[0]?.outputTokens, statuses: ["finished", "finished"] }]);
  });

  test.each<[string, Death, number]>([
    ["once a write is begun", { at: "invocation_begin", when: "after" }, 0],
    ["between a write's success and its record", { at: "invocation_finish", when: "before" }, 1],
  ])("%s: nobody sends it again, a person decides", async (_, death, made) => {
    const chat = await product.chat();
    const run = await live(chat, await chat.ask(question("send", death.at)), death);
    expect(run).toMatchObject({
      status: "waiting",
      interrupts: [{ reason: "operator", metadata: { outcome: "unknown", code: "interrupted", attempts: 1 } }],
    });
    expect(ledgerOf(run, death.at)).toHaveLength(made);
    expect(await chat.invocations(run.id)).toMatchObject([{ status: "outcome_unknown", attempts: 1 }]);
    expect(await chat.texts()).toEqual(TEXTS.slice(0, 1));
    expect(chat.requests("Please")).toHaveLength(1);
  });

  test("while it decides to wait: the next one comes to the same decision", async () => {
    const chat = await product.chat();
    product.tools.enqueueFaults({ kind: "cut", when: "after" });
    const run = await live(chat, await chat.ask(question("send", "park")), { at: "run_park", when: "before" });
    expect(run).toMatchObject({
      status: "waiting",
      interrupts: [{ metadata: { code: "connection_lost", attempts: 1 } }],
    });
    expect(ledgerOf(run, "park")).toHaveLength(1);
  });

  test("after its last word: the run has ended, and nobody takes it over", async () => {
    const chat = await product.chat();
    const run = await live(chat, await chat.ask(question("set", "end")), { at: "end_run", when: "after" });
    expect(run).toMatchObject({ status: "completed", attempt: 1 });
    expect(chat.requests("Please")).toHaveLength(2);
  });

  test("mid-sentence: what it said is taken back and said again, once", async () => {
    const chat = await product.chat();
    const slow = { gapMs: 5, steps: [{ kind: "tokens" as const, count: 40 }] };
    const { id } = await chat.ask(say("Tell", slow));
    const worker = await startMortalWorker(product, id);
    await waitFor(async () => (await chat.texts())[0]?.includes("token3 "), { describe: "some words" });
    worker?.kill();
    expect(await worker?.ended).toBe("died");
    const spoken = await chat.texts();
    await (
      await startMortalWorker(product, id)
    )?.ended;
    const [text] = await chat.texts();
    expect(await chat.texts()).toHaveLength(1);
    expect(text?.match(/token\d+/g)).toHaveLength(40);
    expect(text?.startsWith(spoken[0] ?? "?")).toBe(true);
    expect(await getRun(chat.staff, id)).toMatchObject({ status: "completed", attempt: 2 });
  });

  test("and the next, and the one after it: the third finishes what the first began", async () => {
    const chat = await product.chat();
    const turn = (name: Name) => ({ steps: [calls(name, "thrice")] });
    const asked = await chat.ask(say("Please", turn("set"), turn("look"), { steps: [says("Here you are.")] }));
    const first: Death = { at: "invocation_finish", when: "before" };
    const run = await live(chat, asked, first, { at: "end_run", when: "before" });
    expect(run).toMatchObject({ status: "completed", attempt: 3 });
    expect(product.tools.effectsOf(keyOf(run))).toBe(1);
    expect(await chat.texts()).toEqual(["Here you are."]);
    // One entry a model: what earlier workers used is in it, what was not recorded is not.
    const { rows } = await product.db.query(
      "select sum((usage->0->>'totalTokens')::int)::int as tokens, count(*)::int as n from steps where run_id = $1",
      [run.id.slice(4)],
    );
    expect(rows[0].n).toBe(3);
    expect(run.usage).toMatchObject([{ provider: "openai", totalTokens: rows[0].tokens }]);
  });
});

describe("a database that is away for a moment", () => {
  test.each(["invocation_begin", "invocation_finish"])(
    "at %s: a write is made once, and what came of it is kept",
    async (at) => {
      for (const when of ["fails", "fails after"] as const) {
        const chat = await product.chat();
        const { id } = await chat.ask(question("send", `${at}-${when}`));
        const worker = await startMortalWorker(product, id, { at, when });
        await worker?.ended;
        // Where an answer was lost, another worker may have to look what it was.
        await (
          await startMortalWorker(product, id)
        )?.ended;
        const run = await getRun(chat.staff, id);
        expect(run).toMatchObject({ status: "completed" });
        expect(ledgerOf(run, `${at}-${when}`)).toHaveLength(1);
        expect(await chat.invocations(id)).toMatchObject([{ status: "succeeded" }]);
        expect(await chat.texts()).toEqual(TEXTS);
      }
    },
  );
});

describe("a run that kills its workers", () => {
  const deadly: Death = { at: "tool_step_insert", when: "before" };

  test("ends as poison after the third, with a sentence for the visitor, who can go on", async () => {
    const chat = await product.chat();
    const run = await live(chat, await chat.ask(question("send", "poison")), deadly, deadly, deadly);
    expect(run).toMatchObject({
      status: "failed",
      error: { code: "poison", detail: expect.stringContaining("3 times") },
    });
    expect(chat.requests("Please")).toHaveLength(3);
    expect(ledgerOf(run, "poison")).toEqual([]);
    const state = await chat.state("all");
    expect(state.runs[run.id]).toMatchObject({ status: "failed", error: { code: "poison" } });
    expect(JSON.stringify(state.runs[run.id])).not.toMatch(/worker|died|stopped \d/);
    expect(state.messages.filter(({ role }) => role === "assistant")).toEqual([]);

    const next = await live(chat, await chat.ask("And now?"));
    expect(next.status).toBe("completed");
    expect(await chat.texts()).toEqual(["All done."]);
  });

  test("keeps what it had recorded, and answers what it had asked for, so that the conversation goes on", async () => {
    const chat = await product.chat();
    const midCall: Death = { at: "invocation_finish", when: "before" };
    const run = await live(chat, await chat.ask(question("set", "buried")), midCall, midCall, midCall);
    expect(run).toMatchObject({ status: "failed", error: { code: "poison" }, usage: [{ provider: "openai" }] });
    expect(product.tools.effectsOf(keyOf(run))).toBe(1);
    expect(await chat.texts()).toEqual(TEXTS.slice(0, 1));
    const [call] = (await chat.state("staff")).toolCalls;
    expect(call?.result).toContain("given up");
    const { rows } = await product.db.query(
      "select state, reason from jobs where run_id = $1 order by hand_over desc limit 1",
      [run.id.slice(4)],
    );
    expect(rows).toEqual([{ state: "dead", reason: run.error?.detail }]);
    expect(await live(chat, await chat.ask("And now?"))).toMatchObject({ status: "completed" });
  });

  test("leaves a write that its last worker may have made as a question for staff", async () => {
    const chat = await product.chat();
    const midWrite: Death = { at: "invocation_begin", when: "after" };
    const run = await live(chat, await chat.ask(question("send", "left open")), deadly, deadly, midWrite);
    expect(run).toMatchObject({ status: "failed", error: { code: "poison" }, interrupts: [{ reason: "operator" }] });
    expect(await chat.invocations(run.id)).toMatchObject([{ status: "outcome_unknown", attempts: 1 }]);
    expect(ledgerOf(run, "left open")).toEqual([]);
  });

  test("and a person's decision gives it three new attempts", async () => {
    const chat = await product.chat();
    const unknown: Death = { at: "invocation_finish", when: "before" };
    const waiting = await live(chat, await chat.ask(question("send", "again")), deadly, unknown);
    expect(waiting).toMatchObject({ status: "waiting", attempt: 3 });
    await chat.resume(waiting, "done");
    expect(await live(chat, waiting, { at: "end_run", when: "before" })).toMatchObject({
      status: "completed",
      attempt: 2,
    });
    expect(ledgerOf(waiting, "again")).toHaveLength(1);
  });
});

test("a fault of ours ends the run with a sentence for the visitor and the reason for staff", async () => {
  const chat = await product.chat();
  const asked = await chat.ask("Hello?");
  await product.db.query("update agent_versions set config = config - 'limits' where agent_id = $1", [
    asked.agentId.slice(6),
  ]);
  const run = await live(chat, asked);
  expect(run).toMatchObject({
    status: "failed",
    error: { code: "internal", detail: expect.stringContaining("maxSeconds") },
  });
  const seen = [(await chat.state("all")).runs[run.id], await getRun(chat.visitor, run.id)];
  expect(JSON.stringify(seen)).not.toContain("maxSeconds");
});
