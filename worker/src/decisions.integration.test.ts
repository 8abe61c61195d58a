import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { cancelRun } from "@agent-engine/core/runs/cancel-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { textOf } from "@agent-engine/testing/chat-request.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { calls, says, shopToolkit, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;
/** Retries that an operator decided, by idempotency key. */
const operatorRetries: Record<string, number> = {};

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound({ operatorRetries }));
afterAll(() => product.stop());

const keyOf = (run: Run, call = 0) => createHash("sha256").update(`${run.id}:0:${call}`).digest("hex");
const callsOf = (run: Run, call = 0) => product.tools.ledger.filter(({ key }) => key === keyOf(run, call));

function resultGiven(chat: Chat, question: string): string {
  const messages = chat.requests(question).at(-1)?.body.messages ?? [];
  return messages
    .filter(({ role }) => role === "tool")
    .map(textOf)
    .join();
}

/** A write whose connection is cut after it had its effect. */
async function unknownWrite(chat: Chat): Promise<Run> {
  product.tools.enqueueFaults({ kind: "cut", when: "after" });
  return chat.answered(
    say("Send it", { steps: [says("Sending. "), calls("send", "once")] }, { steps: [says("Sent.")] }),
  );
}

describe("a write of which nobody knows whether it happened", () => {
  test("is not sent again: it waits for an operator, with everything there is to decide by", async () => {
    const chat = await product.chat();
    const run = await unknownWrite(chat);
    expect(callsOf(run)).toHaveLength(1);
    expect(run).toMatchObject({ status: "waiting", error: null, finishedAt: null });
    expect(run.interrupts).toMatchObject([
      {
        reason: "operator",
        message: expect.stringContaining("not certain"),
        toolCallId: expect.stringMatching(/^call_/),
        metadata: {
          kind: "tool",
          provider: "shop",
          tool: "shop_send",
          effect: "write",
          outcome: "unknown",
          code: "connection_lost",
          detail: expect.any(String),
          attempts: 1,
          arguments: { value: "once" },
          idempotencyKey: keyOf(run),
          sentAt: expect.stringMatching(/^\d{4}-.*Z$/),
          choices: ["done", "retry", "abort"],
        },
      },
    ]);
    expect(await chat.invocations(run.id)).toMatchObject([{ status: "outcome_unknown", attempts: 1 }]);
    await chat.decide(run, "done");
  });

  test("is a human sentence to the visitor, who cannot decide it", async () => {
    const chat = await product.chat();
    const { id, interrupts } = await unknownWrite(chat);
    const shown = [
      await getRun(chat.visitor, id),
      (await chat.state("all")).runs[id],
      (await chat.events(id)).findLast((event) => event.type === "RUN_FINISHED" && event.outcome.type === "interrupt"),
    ];
    expect(shown[0]).toMatchObject({ status: "waiting" });
    expect(shown[1]).toMatchObject({ status: "waiting" });
    for (const secret of ["once", "connection_lost", "idempotencyKey", "shop_send"]) {
      expect(JSON.stringify(shown.slice(0, 2))).not.toContain(secret);
    }
    const [interrupt] = interrupts;
    for (const decision of ["retry", "done", "abort"] as const) {
      const deciding = resumeRun(chat.visitor, { runId: id, interruptId: interrupt?.id ?? "", decision });
      await expect(deciding).rejects.toMatchObject({ code: "forbidden" });
    }
    await cancelRun(chat.visitor, id);
  });

  test("done: the model is told what the operator found, and the write is not made again", async () => {
    const chat = await product.chat();
    const run = await chat.decide(await unknownWrite(chat), "done", { content: "Parcel 7 is on its way." });
    expect(run.status).toBe("completed");
    expect(callsOf(run)).toHaveLength(1);
    expect(resultGiven(chat, "Send it")).toBe("Parcel 7 is on its way.");
    expect(await chat.invocations(run.id)).toMatchObject([{ status: "succeeded", attempts: 1 }]);
    expect(await chat.texts()).toEqual(["Sending. ", "Sent."]);
    expect(chat.requests("Send it")).toHaveLength(2);
  });

  test("retry: it is made once more with its key", async () => {
    const chat = await product.chat();
    const waiting = await unknownWrite(chat);
    operatorRetries[keyOf(waiting)] = 1;
    const run = await chat.decide(waiting, "retry");
    expect(run.status).toBe("completed");
    expect(callsOf(run)).toHaveLength(2);
    expect(await chat.invocations(run.id)).toMatchObject([{ status: "succeeded", attempts: 2 }]);
    expect(await chat.texts()).toEqual(["Sending. ", "Sent."]);
  });

  test("retry, and nobody knows again: it waits again, and one decision was worth one attempt", async () => {
    const chat = await product.chat();
    const waiting = await unknownWrite(chat);
    operatorRetries[keyOf(waiting)] = 1;
    product.tools.enqueueFaults({ kind: "cut", when: "after" });
    const again = await chat.decide(waiting, "retry");
    expect(again).toMatchObject({ status: "waiting", interrupts: [{ metadata: { attempts: 2, outcome: "unknown" } }] });
    expect(callsOf(again)).toHaveLength(2);
    expect(await chat.decide(again, "done")).toMatchObject({ status: "completed" });
    expect(callsOf(again)).toHaveLength(2);
  });

  test("abort: the run fails with a sentence for the visitor, and their next message works", async () => {
    const chat = await product.chat();
    const run = await chat.decide(await unknownWrite(chat), "abort");
    expect(run).toMatchObject({ status: "failed", error: { code: "aborted" } });
    expect((await chat.state("all")).toolCalls).toMatchObject([{ status: "done" }]);
    expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
    expect(await chat.texts()).toEqual(["Sending. ", "All done."]);
    expect(callsOf(run)).toHaveLength(1);
  });

  test("a new message cancels the run and is answered; what became of the write stays open", async () => {
    const chat = await product.chat();
    const stuck = await unknownWrite(chat);
    expect(await chat.answered("Never mind.")).toMatchObject({ status: "completed" });
    const [question] = stuck.interrupts;
    const left = await getRun(chat.staff, stuck.id);
    expect(left).toMatchObject({
      status: "cancelled",
      interrupts: [
        { id: question?.id, metadata: { host: new URL(product.tools.url).host, arguments: { value: "once" } } },
      ],
    });
    expect(await getRun(chat.visitor, stuck.id)).toMatchObject({ interrupts: [] });
    expect(await chat.invocations(stuck.id)).toMatchObject([{ status: "outcome_unknown", attempts: 1 }]);
    await expect(chat.resume(left, "retry")).rejects.toMatchObject({ code: "conflict" });
    await chat.resume(left, "done", { content: "It is in the outbox." });
    expect(await chat.invocations(stuck.id)).toMatchObject([{ status: "succeeded", attempts: 1 }]);
    expect(await getRun(chat.staff, stuck.id)).toMatchObject({ status: "cancelled", interrupts: [] });
    expect(callsOf(stuck)).toHaveLength(1);
    expect(await chat.texts()).toEqual(["Sending. ", "All done."]);
    // The model is not left to believe that it happened, or that it did not.
    const { body } = chat.requests("Never mind.")[0] ?? {};
    expect(body?.messages.find(({ role }) => role === "tool")).toMatchObject({
      content: expect.stringContaining("cancelled"),
    });
  });
});

test("an idempotent tool that keeps failing waits for an operator, and goes on with its key", async () => {
  const chat = await product.chat();
  const down = { kind: "error", when: "before", status: 503 } as const;
  product.tools.enqueueFaults(down, down, { ...down, when: "after" });
  const waiting = await chat.answered(say("Set it", { steps: [calls("set", "v")] }, { steps: [says("Set.")] }));
  expect(waiting).toMatchObject({
    status: "waiting",
    interrupts: [{ reason: "operator", metadata: { outcome: "not_done", code: "unavailable", attempts: 3 } }],
  });
  const run = await chat.decide(waiting, "retry");
  expect(run.status).toBe("completed");
  expect(callsOf(run)).toHaveLength(4);
  expect(product.tools.effectsOf(keyOf(run))).toBe(1);
});

const approving = () => ({ toolkits: [shopToolkit(product.tools.url, { tools: { send: "approve" } })] });
const sending = say("May it", { steps: [says("May I? "), calls("send", "asked")] }, { steps: [says("So be it.")] });

describe("a tool that needs approval", () => {
  test("asks before it is made; approved, it is made once", async () => {
    const chat = await product.chat(approving());
    const waiting = await chat.answered(sending);
    expect(waiting).toMatchObject({
      status: "waiting",
      interrupts: [
        {
          reason: "approval",
          toolCallId: expect.any(String),
          metadata: { tool: "shop_send", arguments: { value: "asked" } },
        },
      ],
    });
    expect(callsOf(waiting)).toEqual([]);
    expect(await chat.invocations(waiting.id)).toMatchObject([{ status: "intended", attempts: 0 }]);
    const run = await chat.decide(waiting, "approve");
    expect(run.status).toBe("completed");
    expect(callsOf(run)).toMatchObject([{ outcome: "applied", body: { value: "asked" } }]);
    expect(await chat.texts()).toEqual(["May I? ", "So be it."]);
    expect(chat.requests("May it")).toHaveLength(2);
  });

  test("is approved by the visitor themselves", async () => {
    const chat = await product.chat(approving());
    const waiting = await chat.answered(sending);
    const [shown] = (await getRun(chat.visitor, waiting.id)).interrupts;
    await resumeRun(chat.visitor, { runId: waiting.id, interruptId: shown?.id ?? "", decision: "approve" });
    expect(await chat.ended(waiting.id)).toMatchObject({ status: "completed" });
    expect(callsOf(waiting)).toHaveLength(1);
  });

  test("declined, it is not made, and the model reads why", async () => {
    const chat = await product.chat(approving());
    const run = await chat.decide(await chat.answered(sending), "decline", { reason: "too expensive" });
    expect(run.status).toBe("completed");
    expect(callsOf(run)).toEqual([]);
    expect(resultGiven(chat, "May it")).toContain("too expensive");
    expect(await chat.invocations(run.id)).toMatchObject([
      { status: "failed", outcome: { failure: { code: "declined" } } },
    ]);
  });

  test("approved and then cut: an approval is no leave to send it twice", async () => {
    const chat = await product.chat(approving());
    const asked = await chat.answered(sending);
    product.tools.enqueueFaults({ kind: "cut", when: "after" });
    const unknown = await chat.decide(asked, "approve");
    expect(unknown).toMatchObject({ status: "waiting", interrupts: [{ reason: "operator" }] });
    expect(callsOf(unknown)).toHaveLength(1);
    expect(await chat.decide(unknown, "done")).toMatchObject({ status: "completed" });
  });

  const both = say("Both", { steps: [calls("send", "first"), calls("send", "second")] }, { steps: [says("Right.")] });

  test("two in one turn are asked about together, and each is decided for itself, under its id", async () => {
    const chat = await product.chat(approving());
    const waiting = await chat.answered(both);
    expect(waiting.interrupts).toHaveLength(2);
    const [first, second] = waiting.interrupts;
    await resumeRun(chat.staff, { runId: waiting.id, interruptId: second?.id ?? "", decision: "approve" });
    expect(await getRun(chat.staff, waiting.id)).toMatchObject({ status: "waiting", interrupts: [{ id: first?.id }] });
    expect((await chat.state("all")).runs[waiting.id]).toMatchObject({
      status: "waiting",
      interrupts: [{ id: first?.id }],
    });
    expect([callsOf(waiting, 0).length, callsOf(waiting, 1).length]).toEqual([0, 0]);
    await resumeRun(chat.staff, { runId: waiting.id, interruptId: first?.id ?? "", decision: "decline" });
    expect(await chat.ended(waiting.id)).toMatchObject({ status: "completed" });
    expect([callsOf(waiting, 0).length, callsOf(waiting, 1).length]).toEqual([0, 1]);
    expect(chat.requests("Both")).toHaveLength(2);
  });

  test("the visitor and somebody of the team decide at the same moment: the run goes on once, with both", async () => {
    const chat = await product.chat(approving());
    const waiting = await chat.answered(both);
    const [first, second] = waiting.interrupts;
    await Promise.all([
      resumeRun(chat.visitor, { runId: waiting.id, interruptId: first?.id ?? "", decision: "approve" }),
      resumeRun(chat.staff, { runId: waiting.id, interruptId: second?.id ?? "", decision: "approve" }),
    ]);
    expect(await chat.ended(waiting.id)).toMatchObject({ status: "completed", attempt: 1 });
    expect([callsOf(waiting, 0).length, callsOf(waiting, 1).length]).toEqual([1, 1]);
    const resumed = (await chat.events(waiting.id)).filter((it) => it.type === "CUSTOM" && it.name === "run.resumed");
    expect(resumed).toHaveLength(2);
  });

  test("a message sent meanwhile is answered after the decision", async () => {
    const chat = await product.chat(approving());
    const waiting = await chat.answered(sending);
    const next = await chat.ask("Something else");
    expect(next.status).toBe("queued");
    await chat.decide(waiting, "approve");
    expect(await chat.ended(next.id)).toMatchObject({ status: "completed" });
    expect(await chat.texts()).toEqual(["May I? ", "So be it.", "All done."]);
  });
});

test("what a model or an operator writes may hold anything: it is asked about, decided and kept", async () => {
  const chat = await product.chat(approving());
  const odd = 'a\u0000b\ud83d"';
  const turn = { kind: "toolCall" as const, name: "shop_send", arguments: `{"value":${JSON.stringify(odd)}}` };
  const waiting = await chat.answered(say("Odd", { steps: [turn] }, { steps: [says("Odd indeed.")] }));
  expect(waiting).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
  const run = await chat.decide(waiting, "decline", { reason: odd, content: odd, more: { [odd]: odd } });
  expect(run.status).toBe("completed");
});
