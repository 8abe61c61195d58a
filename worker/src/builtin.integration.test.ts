/** The built-in tools as visitors meet them: a real worker, and a model that asks for them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { listSchedules } from "@agent-engine/core/schedules/list-schedules.ts";
import { sendMessage } from "@agent-engine/core/conversations/send-message.ts";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import type { ModelScript } from "@agent-engine/testing/model-script.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "./main.ts";
import { says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());

const asks = (name: string, args: object): ModelScript => ({
  steps: [{ kind: "toolCall", name: `builtin_${name}`, arguments: args }],
});
const answers = (text: string): ModelScript => ({ steps: [says(text)] });

describe.each([
  ["Redis", () => redis.url],
  ["Postgres", () => null],
])("with a broker on %s", (_name, redisUrl) => {
  let product: Product;
  let second: RunningWorker;
  let chat: Chat;

  beforeAll(async () => {
    product = await startProduct({ redisUrl: redisUrl() });
    const { services, retryPolicy } = product;
    second = await startWorker({ services, config: { nodeEnv: "test", workerConcurrency: 8 }, retryPolicy });
  });
  afterAll(async () => {
    await second.stop();
    await product.stop();
  });
  beforeEach(async () => {
    chat = await product.chat({ toolkits: [{ toolkit: "builtin", tools: {}, defaultPolicy: "auto", settings: {} }] });
  });
  afterEach(() => product.expectSound());

  test("an agent plans a follow-up, and comes back by itself, once", async () => {
    const instructions = say("Ask whether the parcel came.", answers("Has your parcel come?"));
    const planned = asks("schedule_follow_up", { inMinutes: 60, instructions });
    const run = await chat.answered(say("Remind me", planned, answers("I shall ask you in an hour.")));
    expect(run).toMatchObject({ status: "completed" });
    const { conversationId, staff } = chat;
    await product.db.query("update schedules set try_at = now() where conversation_id = $1", [uuidOf(conversationId)]);
    const runId = await waitFor(async () => (await listSchedules(staff, { limit: 1, cursor: null })).items[0]?.runId, {
      describe: "the follow-up to start",
    });
    expect(await chat.ended(runId)).toMatchObject({ status: "completed" });
    expect(await chat.texts()).toEqual(["I shall ask you in an hour.", "Has your parcel come?"]);
    const users = (await chat.state("all")).messages.filter(({ role }) => role === "user");
    expect(users).toHaveLength(1);
    expect((await chat.invocations(run.id)).map(({ attempts, status }) => [attempts, status])).toEqual([
      [1, "succeeded"],
    ]);
  });

  test("an agent hands over, says so, and answers no more", async () => {
    const script = [asks("hand_over", { reason: "They want a person" }), answers("A person will answer here.")];
    expect(await chat.answered(say("A person, please", ...script))).toMatchObject({ status: "completed" });
    expect(await chat.texts()).toEqual(["A person will answer here."]);
    const { conversationId, visitor } = chat;
    expect(await getConversation(visitor, conversationId)).toMatchObject({ mode: "operator" });
    const sent = await sendMessage(visitor, { conversationId, clientMessageId: "more", text: "Thanks" });
    expect(sent.run).toBeNull();
  });

  test("an agent asks in a form, whose answer must fit, and reads it", async () => {
    const fields = [
      { name: "mail", label: "Your e-mail", type: "email", required: true },
      { name: "size", label: "Size", type: "choice", options: ["S", "M"] },
    ];
    const run = await chat.answered(
      say("I want one", asks("collect_form", { title: "Your order", fields }), answers("Thank you.")),
    );
    expect(run).toMatchObject({
      status: "waiting",
      interrupts: [{ reason: "client_tool", metadata: { kind: "form", title: "Your order" } }],
    });
    const interruptId = run.interrupts[0]?.id ?? "";
    const fill = (content: unknown) =>
      resumeRun(chat.visitor, { runId: run.id, interruptId, decision: "result", payload: { content } });
    await expect(fill({ size: "M" })).rejects.toMatchObject({ code: "invalid_request" });
    await expect(fill({ mail: "ada@example.com", size: "XXL" })).rejects.toMatchObject({ code: "invalid_request" });
    await fill({ mail: "ada@example.com", size: "M" });
    expect(await chat.ended(run.id)).toMatchObject({ status: "completed" });
    const [call] = await chat.invocations(run.id);
    expect(JSON.parse(call?.outcome?.content ?? "")).toEqual({ mail: "ada@example.com", size: "M" });
    expect(await chat.texts()).toEqual(["Thank you."]);
  });
});
