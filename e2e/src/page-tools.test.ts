/** Tools of the customer's page, over the whole product: page → server → worker → model → page → model → reader. */
import type { AgentWidgetApi, PageToolSchema } from "@agent-engine/widget/widget-api.ts";
import type { ChatRequest, RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Agent, Page as Listed } from "@agent-engine/protocol/resources.ts";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { apiAt } from "./api-client.ts";
import { openDemoShop, type DemoShop } from "./demo-shop.ts";
import { visit, type Visitor } from "./visitor.ts";

declare global {
  interface Window {
    AgentWidget?: AgentWidgetApi;
    /** What the tool that a test registered was called with. */
    calls: unknown[];
    /** Lets a call that `stands` go on. */
    answer(content: unknown): void;
  }
}

let shop: DemoShop;
const visitors: Visitor[] = [];
/** What the model calls; then it says what it was answered. */
let call: { name: string; arguments: unknown };

beforeAll(async () => {
  shop = await openDemoShop({ model: true });
  shop.model.setScript(({ messages }) => {
    const last = messages.at(-1);
    if (last?.role === "tool") return { steps: [{ kind: "text", text: `Answered: ${contentOf(last.content)}` }] };
    return { steps: [{ kind: "toolCall", ...call }] };
  });
});
beforeEach(() => {
  call = { name: "page_find_size", arguments: { feet: 27 } };
});
afterEach(async () => {
  for (const { context } of visitors.splice(0)) await context.close();
});
afterAll(async () => {
  await shop?.stop();
});

const contentOf = (content: unknown): string => (typeof content === "string" ? content : JSON.stringify(content));

async function arrive(): Promise<Visitor> {
  const visitor = await visit(shop);
  visitors.push(visitor);
  await visitor.page.waitForFunction(() => window.AgentWidget);
  return visitor;
}

const SIZE: PageToolSchema = {
  description: "Finds the size of a shoe.",
  parameters: { type: "object", properties: { feet: { type: "number" } }, required: ["feet"] },
  resultSchema: { type: "object", properties: { size: { type: "integer" } }, required: ["size"] },
};

/** Registers `find_size`, which writes down what it is called with. `stands`: it answers when the test says so. */
function register(page: Page, script: { answers: unknown } | "stands"): Promise<void> {
  return page.evaluate(
    ([schema, script]) => {
      window.calls = [];
      window.AgentWidget?.registerTool("find_size", schema, async (given) => {
        window.calls.push(given);
        if (script !== "stands") return script.answers;
        return new Promise((resolve) => Object.assign(window, { answer: resolve }));
      });
    },
    [SIZE, script] as const,
  );
}

const callsOf = ({ page }: Visitor) => page.evaluate(() => window.calls);
const isCalled = (visitor: Visitor) =>
  waitFor(async () => (await callsOf(visitor)).length === 1, { describe: "the page to be called", timeoutMs: 20_000 });
const offeredIn = ({ tools = [] }: ChatRequest) => tools.map((tool) => tool.function.name);
const requestsAbout = (text: string): RecordedRequest[] =>
  shop.model.requests.filter(({ body }) =>
    contentOf(body.messages.findLast(({ role }) => role === "user")?.content).includes(text),
  );

test("the demo shop's assistant fills the basket, which its own page shows", async () => {
  call = { name: "page_add_to_basket", arguments: { product: "Måke hat", amount: 2 } };
  const visitor = await arrive();
  await visitor.open();
  await visitor.ask("Two hats, please");
  await visitor.sees('Answered: {"basket":[{"amount":2,"product":"Måke hat"}]}');
  await visitor.isDone();
  await visitor.page.getByRole("status").getByText("Basket (2)", { exact: true }).waitFor();
  expect(visitor.complaints).toEqual([]);
});

test("it is offered in the conversation that its page has open, and in no other", async () => {
  const [visitor, other] = [await arrive(), await arrive()];
  await register(visitor.page, { answers: { size: 43 } });
  for (const one of [visitor, other]) await one.open();
  await visitor.ask("My feet are 27 cm");
  await visitor.sees('Answered: {"size":43}');
  expect(await callsOf(visitor)).toEqual([{ feet: 27 }]);
  await other.ask("And mine are 27 cm");
  await other.sees("There is no such tool");
  expect(await callsOf(visitor)).toHaveLength(1);
  for (const { body } of requestsAbout("My feet")) expect(offeredIn(body)).toContain("page_find_size");
  for (const { body } of requestsAbout("And mine")) {
    expect(offeredIn(body)).toEqual(
      offeredIn(requestsAbout("My feet")[0]!.body).filter((name) => name !== "page_find_size"),
    );
  }
  // Nor in its own, once the page is left.
  await visitor.page.goto("about:blank");
  const later = await visitor.anotherTab();
  await later.open();
  await later.ask("What about 28 cm?");
  await later.sees("There is no such tool");
});

test("of two pages of one conversation, the one that is asked executes it, and both show the answer", async () => {
  const visitor = await arrive();
  await register(visitor.page, { answers: { size: 1 } });
  await visitor.open();
  await visitor.ask("First");
  await visitor.sees('Answered: {"size":1}');
  const tab = await visitor.anotherTab();
  await tab.page.waitForFunction(() => window.AgentWidget);
  await register(tab.page, { answers: { size: 2 } });
  await tab.open();
  await tab.ask("Second");
  for (const one of [visitor, tab]) await one.sees('Answered: {"size":2}');
  for (const one of [visitor, tab]) expect(await callsOf(one)).toHaveLength(1);
});

test.each<[string, unknown, RegExp]>([
  ["does not fit its own schema", { size: "large" }, /Answered: .*does not fit what was asked.*size/],
  ["is longer than a model reads", { size: 43, why: "x".repeat(40_000) }, /Answered: .*too long/],
])("an answer that %s is an error, which the model reads", async (_, answers, words) => {
  const visitor = await arrive();
  await register(visitor.page, { answers });
  await visitor.open();
  await visitor.ask("My feet are 27 cm");
  await visitor.log.getByText(words).waitFor();
  expect(await callsOf(visitor)).toHaveLength(1);
});

test("a page that is left in the middle of a call says so, and the model goes on without waiting", async () => {
  const visitor = await arrive();
  await register(visitor.page, "stands");
  await visitor.open();
  await visitor.ask("My feet are 27 cm");
  await isCalled(visitor);
  await visitor.page.reload();
  await visitor.sees("left the page before it answered");
});

test("everything is killed between the call and its answer: it was made once, and its answer arrives", async () => {
  const visitor = await arrive();
  await register(visitor.page, "stands");
  await visitor.open();
  await visitor.ask("My feet are 27 cm");
  await isCalled(visitor);
  await shop.kill();
  await shop.start();
  await visitor.page.evaluate(() => window.answer({ size: 43 }));
  await visitor.sees('Answered: {"size":43}');
  expect(await callsOf(visitor)).toHaveLength(1);
});

test("an agent that may call it only with approval asks first, and one that switched it off does not have it", async () => {
  const api = apiAt(shop.apiUrl, shop.secretKey);
  const [agent] = (await api.request<Listed<Agent>>("GET", "/v1/agents")).items;
  const say = async (choice: Record<string, unknown>) => {
    await api.request("PATCH", `/v1/agents/${agent?.id}`, { toolkits: [{ toolkit: "page", ...choice }] });
    await api.request("POST", `/v1/agents/${agent?.id}/publish`);
  };
  await say({ tools: { find_size: "approve" }, defaultPolicy: "off" });
  const visitor = await arrive();
  await register(visitor.page, { answers: { size: 43 } });
  await visitor.open();
  await visitor.ask("May you look?");
  const card = visitor.log.getByRole("group", { name: "Find size", exact: true });
  await card.waitFor();
  expect(await callsOf(visitor)).toEqual([]);
  await card.getByRole("button", { name: "Approve" }).click();
  await visitor.sees('Answered: {"size":43}');
  expect(await visitor.read()).toContain("Approved: Find size");
  expect(await callsOf(visitor)).toEqual([{ feet: 27 }]);
  expect(requestsAbout("May you look?").flatMap(({ body }) => offeredIn(body))).not.toContain("page_add_to_basket");

  await say({ defaultPolicy: "off" });
  await visitor.ask("Then do not look");
  await visitor.sees("There is no such tool");
  expect(await callsOf(visitor)).toHaveLength(1);
});
