import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { modelFaults, type ModelFault } from "@agent-engine/testing/model-faults.ts";
import type { ModelScript } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const answer: ModelScript = { steps: [says("The whole answer, once.")] };
const rateLimited: ModelScript = {
  steps: [
    { kind: "status", status: 429, headers: { "retry-after-ms": "150" }, body: { error: { message: "Slow down" } } },
  ],
};

/** Words that belong to us or to a vendor, and never before a visitor. */
const INTERNALS =
  /ECONN|openai|test-model|127\.0\.0\.1|status|HTTP|\b[45]\d\d\b|API key|Unauthorized|JSON|socket|stall/i;

/** Everything a visitor can read of a run says nothing of what happened inside. */
async function expectDiscreet(chat: Chat, runId: string): Promise<void> {
  const { status, interrupts, error } = await getRun(chat.visitor, runId);
  const state = (await chat.state("all")).runs[runId];
  for (const seen of [{ status, interrupts, error }, state && { ...state, usage: [] }]) {
    const words = JSON.stringify(seen, (key, value: unknown) =>
      key === "id" || key.endsWith("At") || key === "status" ? undefined : value,
    );
    expect(words).not.toMatch(INTERNALS);
  }
}

const namesOf = async (chat: Chat, run: Run) =>
  (await chat.events(run.id)).flatMap((event) => (event.type === "CUSTOM" ? [event.name] : []));

describe("a model that fails once", () => {
  test.each<[ModelFault, string]>([
    ["serverError", "unavailable"],
    ["overloaded", "unavailable"],
    ["neverAnswers", "stalled"],
    ["cutAtOnce", "connection_failed"],
    ["cutMidStream", "cut_off"],
    ["stallMidStream", "stalled"],
    ["endsWithoutFinish", "cut_off"],
    ["emptyStream", "cut_off"],
    ["garbageJson", "garbage"],
    ["notSse", "cut_off"],
    ["errorInStream", "unavailable"],
  ])("%s: is asked again, and the visitor reads the answer once", async (fault, reason) => {
    const chat = await product.chat();
    const run = await chat.answered(say("Answer", [modelFaults[fault], answer]));
    expect(run).toMatchObject({ status: "completed", finishReason: "stop", attempt: 1 });
    expect(chat.requests("Answer")).toHaveLength(2);
    expect(await chat.texts()).toEqual(["The whole answer, once."]);
    expect(await chat.events(run.id)).toContainEqual(
      expect.objectContaining({ name: "run.retrying", value: { attempt: 2, delayMs: expect.any(Number), reason } }),
    );
    const { rows } = await product.db.query("select text from messages where run_id = $1 and role = 'assistant'", [
      run.id.slice(4),
    ]);
    expect(rows).toEqual([{ text: "The whole answer, once." }]);
    await expectDiscreet(chat, run.id);
  });

  test("with 429: it is asked again no sooner than it said", async () => {
    const chat = await product.chat();
    const run = await chat.answered(say("Answer", [rateLimited, answer]));
    expect(run.status).toBe("completed");
    const retrying = (await chat.log()).find(({ event }) => event.type === "CUSTOM" && event.name === "run.retrying");
    const superseded = (await chat.log()).find(
      ({ event }) => event.type === "CUSTOM" && event.name === "run.superseded",
    );
    expect(retrying?.event).toMatchObject({ value: { reason: "rate_limited" } });
    expect(Date.parse(superseded?.at ?? "") - Date.parse(retrying?.at ?? "")).toBeGreaterThanOrEqual(140);
  });

  test("after a tool was called: only the turn is made again, not the call", async () => {
    const chat = await product.chat();
    const run = await chat.answered(
      say("Do", { steps: [calls("send", "only-once")] }, [modelFaults.cutMidStream, answer]),
    );
    expect(run.status).toBe("completed");
    expect(product.tools.ledger.filter(({ body }) => JSON.stringify(body).includes("only-once"))).toHaveLength(1);
    expect(await chat.texts()).toEqual(["The whole answer, once."]);
  });
});

describe("a model that fails again and again", () => {
  test.each<[ModelFault, string]>([
    ["serverError", "unavailable"],
    ["cutMidStream", "cut_off"],
    ["garbageJson", "garbage"],
    ["emptyStream", "cut_off"],
    ["stallMidStream", "stalled"],
  ])("%s: the run waits for an operator with the reason, and goes on when told to", async (fault, code) => {
    const chat = await product.chat();
    const broken = modelFaults[fault];
    const waiting = await chat.answered(say("Answer", [broken, broken, broken, answer]));
    expect(waiting).toMatchObject({
      status: "waiting",
      interrupts: [
        {
          reason: "operator",
          metadata: {
            kind: "model",
            provider: "openai",
            model: "test-model",
            code,
            attempts: 3,
            choices: ["retry", "abort"],
          },
        },
      ],
    });
    expect(await chat.texts()).toEqual([]);
    await expectDiscreet(chat, waiting.id);
    const run = await chat.decide(waiting, "retry");
    expect(run.status).toBe("completed");
    expect(await chat.texts()).toEqual(["The whole answer, once."]);
    expect(chat.requests("Answer")).toHaveLength(4);
  });

  test("whose quota is used up: nobody asks it in vain", async () => {
    const chat = await product.chat();
    const body = {
      error: { message: "You exceeded your current quota", type: "insufficient_quota", code: "insufficient_quota" },
    };
    const waiting = await chat.answered(say("Answer", [{ steps: [{ kind: "status", status: 429, body }] }, answer]));
    expect(waiting).toMatchObject({
      status: "waiting",
      interrupts: [{ metadata: { code: "quota_exhausted", attempts: 1 } }],
    });
    await expectDiscreet(chat, waiting.id);
    await expect(chat.resume(waiting, "done")).rejects.toMatchObject({ code: "invalid_request" });
    expect(await chat.decide(waiting, "abort")).toMatchObject({ status: "failed", error: { code: "aborted" } });
    await expectDiscreet(chat, waiting.id);
  });

  test("whose server is down: it waits, and a new message is answered once the server is back", async () => {
    const chat = await product.chat();
    await product.models.refuseConnections();
    const waiting = await chat.answered("Anybody there?");
    expect(waiting).toMatchObject({
      status: "waiting",
      interrupts: [{ metadata: { code: "connection_failed", attempts: 3 } }],
    });
    expect(JSON.stringify(waiting.interrupts)).toContain("ECONNREFUSED");
    expect(await namesOf(chat, waiting)).toEqual([
      ...["run.retrying", "run.superseded", "run.retrying", "run.superseded"],
      "run.superseded",
    ]);
    await expectDiscreet(chat, waiting.id);
    await product.models.acceptConnections();
    expect(await chat.answered("Still there?")).toMatchObject({ status: "completed" });
    expect(await getRun(chat.staff, waiting.id)).toMatchObject({ status: "cancelled" });
    expect(await chat.texts()).toEqual(["All done."]);
  });
});

describe("a model that refuses", () => {
  const tooLong = {
    error: { message: "This model's maximum context length is 8 tokens", code: "context_length_exceeded" },
  };
  test.each<[string, ModelScript, string, string]>([
    ["the key", modelFaults.badKey, "not_authorized", "try again later"],
    ["the length", { steps: [{ kind: "status", status: 400, body: tooLong }] }, "context_too_long", "new conversation"],
  ])("%s: the run fails at once, with a sentence for the visitor", async (_, script, code, sentence) => {
    const chat = await product.chat();
    const run = await chat.answered(say("Answer", script));
    expect(run).toMatchObject({ status: "failed", error: { code, detail: expect.any(String) } });
    expect(chat.requests("Answer")).toHaveLength(1);
    expect((await chat.state("all")).runs[run.id]).toMatchObject({
      status: "failed",
      error: { message: expect.stringContaining(sentence) },
    });
    await expectDiscreet(chat, run.id);
    expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
  });

  test("in the middle of its answer: what it said stays, marked incomplete", async () => {
    const chat = await product.chat();
    const filtered = { kind: "error" as const, message: "The response was filtered", code: "content_filter" };
    const run = await chat.answered(say("Answer", { steps: [says("It begins "), filtered] }));
    expect(run).toMatchObject({ status: "failed", error: { code: "content_filtered" } });
    expect((await chat.state("all")).messages.at(-1)).toMatchObject({ text: "It begins ", status: "incomplete" });
    await expectDiscreet(chat, run.id);
  });
});

test("while a run is tried again the visitor sees that it is, and can stop it", async () => {
  const chat = await product.chat();
  const wait: ModelScript = {
    steps: [
      { kind: "status", status: 429, headers: { "retry-after": "15" }, body: { error: { message: "Slow down" } } },
    ],
  };
  const { id } = await chat.ask(say("Answer", [wait, answer]));
  const run = await waitFor(
    async () => {
      const seen = (await chat.state("all")).runs[id];
      return seen?.status === "running" && seen.retry ? seen : null;
    },
    { describe: "the run to be tried again" },
  );
  expect(run).toMatchObject({ retry: { attempt: 2, reason: "rate_limited" } });
  await expectDiscreet(chat, id);
  await chat.cancel(id);
  expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
  expect(chat.requests("Answer")).toHaveLength(1);
});
