/** Tools of visitors' pages as an agent may use them: a real worker, and pages that answer or do not. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { registerClientTools } from "@agent-engine/core/client-tools/register-client-tools.ts";
import { expireInterrupts } from "@agent-engine/core/runs/expire-interrupts.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import {
  calls,
  says,
  shopToolkit,
  startProduct,
  type Chat,
  type Product,
  type ToolkitChoice,
} from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const BUY = {
  name: "buy",
  description: "Puts something into the basket.",
  parameters: { type: "object", properties: { sku: { type: "string" } } },
  resultSchema: { type: "object", properties: { items: { type: "integer" } }, required: ["items"] },
};
const QUESTION = say(
  "One hat, please",
  { steps: [{ kind: "toolCall", name: "page_buy", arguments: { sku: "hat" } }] },
  { steps: [says("Said.")] },
);
const page = (more: Partial<ToolkitChoice>): ToolkitChoice => ({
  toolkit: "page",
  tools: {},
  defaultPolicy: "auto",
  settings: {},
  ...more,
});

/** A visitor whose page offers `buy`, with an agent that says this of its pages' tools. */
async function chatWith(toolkits: ToolkitChoice[]): Promise<Chat> {
  const chat = await product.chat({ toolkits });
  const { conversationId, visitor } = chat;
  await registerClientTools(visitor, { conversationId, pageId: "page-1", tools: [BUY] });
  return chat;
}

const answer = (chat: Chat, run: Run, content: unknown) => {
  const interruptId = run.interrupts[0]?.id ?? "";
  return resumeRun(chat.visitor, { runId: run.id, interruptId, decision: "result", payload: { content } });
};
const offeredIn = (chat: Chat) =>
  chat.requests("One hat").map(({ body }) => (body.tools ?? []).map((tool) => tool.function.name));
const readBy = (chat: Chat) => JSON.stringify(chat.requests("One hat").at(-1)?.body.messages.at(-1));

test("an agent that says nothing of pages has their tools, and reads the answer that fits", async () => {
  const chat = await chatWith([]);
  const run = await chat.answered(QUESTION);
  expect(run).toMatchObject({
    status: "waiting",
    interrupts: [
      {
        reason: "client_tool",
        metadata: { kind: "client_tool", pageId: "page-1", tool: "buy", arguments: { sku: "hat" } },
      },
    ],
  });
  await expect(answer(chat, run, { items: "many" })).rejects.toMatchObject({ code: "invalid_request" });
  await answer(chat, run, { items: 3 });
  expect(await chat.ended(run.id)).toMatchObject({ status: "completed" });
  await expect(answer(chat, run, { items: 4 })).rejects.toMatchObject({ code: "interrupt_resolved" });
  expect(offeredIn(chat)).toEqual([["page_buy"], ["page_buy"]]);
  expect(readBy(chat)).toContain("items");
  expect(await chat.texts()).toEqual(["Said."]);
});

test("an agent that switches its pages' tools off is not offered them, nor what a page adds, and the others stay", async () => {
  const chat = await chatWith([shopToolkit(product.tools.url), page({ defaultPolicy: "off" })]);
  const run = await chat.answered(QUESTION);
  expect(run).toMatchObject({ status: "completed" });
  expect(offeredIn(chat)[0]).toEqual(["shop_look", "shop_set", "shop_send"]);
  expect(readBy(chat)).toContain("There is no such tool");
});

test("what an agent lets be done only with approval is approved before the page is asked, once each", async () => {
  const chat = await chatWith([page({ defaultPolicy: "off", tools: { buy: "approve" } })]);
  const run = await chat.answered(QUESTION);
  expect(run.interrupts).toMatchObject([
    { reason: "approval", metadata: { tool: "page_buy", toolkit: "page", arguments: { sku: "hat" } } },
  ]);
  // The page cannot answer what it has not been asked.
  await expect(answer(chat, run, { items: 1 })).rejects.toMatchObject({ code: "invalid_request" });
  const asked = await chat.decide(run, "approve");
  expect(asked.interrupts).toMatchObject([{ reason: "client_tool", metadata: { pageId: "page-1", tool: "buy" } }]);
  await answer(chat, asked, { items: 1 });
  expect(await chat.ended(run.id)).toMatchObject({ status: "completed" });
  expect((await chat.invocations(run.id)).map(({ tool, status }) => [tool, status])).toEqual([
    ["page_buy", "succeeded"],
  ]);
});

test("what is declined never reaches the page", async () => {
  const chat = await chatWith([page({ defaultPolicy: "approve" })]);
  const run = await chat.answered(QUESTION);
  expect(await chat.decide(run, "decline", { reason: "Too dear" })).toMatchObject({ status: "completed" });
  expect(readBy(chat)).toContain("Too dear");
});

test("a page that is gone when the call is approved is not waited for", async () => {
  const chat = await chatWith([page({ defaultPolicy: "approve" })]);
  const run = await chat.answered(QUESTION);
  const { conversationId, visitor } = chat;
  await registerClientTools(visitor, { conversationId, pageId: "page-1", tools: [] });
  expect(await chat.decide(run, "approve")).toMatchObject({ status: "completed" });
  expect(readBy(chat)).toContain("no longer available");
});

test("a page that never answers is waited for for a minute; what it says later counts for nothing", async () => {
  const chat = await chatWith([]);
  const run = await chat.answered(QUESTION);
  const inSeconds = (seconds: number) => ({ ...product.services, clock: () => Date.now() + seconds * 1_000 });
  expect(await expireInterrupts(inSeconds(50))).toBe(0);
  expect(await expireInterrupts(inSeconds(61))).toBe(1);
  expect(await chat.ended(run.id)).toMatchObject({ status: "completed" });
  expect(readBy(chat)).toContain("did not answer");
  await expect(answer(chat, run, { items: 1 })).rejects.toMatchObject({ code: "interrupt_resolved" });
  expect(await chat.texts()).toEqual(["Said."]);
});

test("two calls of one answer reach the page one after the other, and what goes between them is the agent's", async () => {
  const chat = await chatWith([shopToolkit(product.tools.url)]);
  const buy = (sku: string) => ({ kind: "toolCall" as const, name: "page_buy", arguments: { sku } });
  const run = await chat.answered(
    say("One hat and more", { steps: [buy("hat"), calls("look", "a"), buy("boots")] }, { steps: [says("Said.")] }),
  );
  expect(run.interrupts.map(({ metadata }) => metadata?.arguments)).toEqual([{ sku: "hat" }]);
  const next = await chat.decide(run, "result", { content: { items: 1 } });
  expect(next.interrupts.map(({ metadata }) => metadata?.arguments)).toEqual([{ sku: "boots" }]);
  expect(await chat.decide(next, "result", { content: { items: 2 } })).toMatchObject({ status: "completed" });
});
