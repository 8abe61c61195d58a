/**
 * The whole story of a tool that acts with a visitor's own account, in a browser: the visitor asks, a card asks for the
 * account, the provider for consent; the run goes on by itself, asks for approval, and the ledger shows one call.
 */
import type { InstalledToolkit, Tool } from "@agent-engine/protocol/toolkits.ts";
import type { Agent, Page as Listed, Run } from "@agent-engine/protocol/resources.ts";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apiAt, type Api } from "./api-client.ts";
import { openDemoShop, type DemoShop } from "./demo-shop.ts";
import { visit, type Visitor } from "./visitor.ts";

const MAIL = { recipient_email: "ada@example.com", subject: "Your order", body: "It is on its way." };
const DONE = "The mail is on its way.";

let composio: ComposioServer;
let shop: DemoShop;
let api: Api;
/** As the model calls it. */
let toolName = "";

beforeAll(async () => {
  composio = await startComposioServer({ toolkits: 20 });
  shop = await openDemoShop({
    model: true,
    env: { COMPOSIO_API_KEY: composio.apiKey, COMPOSIO_BASE_URL: composio.url },
  });
  shop.model.setScript(({ messages }) => {
    const last = messages.at(-1);
    if (last?.role === "tool") return { steps: [{ kind: "text", text: answerTo(JSON.stringify(last)) }] };
    return { steps: [{ kind: "toolCall", name: toolName, arguments: MAIL }] };
  });
  api = apiAt(shop.apiUrl, shop.secretKey);
  const toolkit = await api.request<InstalledToolkit>("POST", "/v1/toolkits", {
    kind: "composio",
    name: "gmail",
    title: "Gmail",
    settings: { toolkit: "gmail", connections: "visitor", tools: ["GMAIL_SEND_EMAIL"] },
  });
  const tools = await api.request<Listed<Tool>>("GET", `/v1/tools?toolkitId=${toolkit.id}`);
  toolName = tools.items[0]?.name ?? "";
  const { items } = await api.request<Listed<Agent>>("GET", "/v1/agents");
  const toolkits = [{ toolkit: toolkit.id, defaultPolicy: "approve" }];
  await api.request("PATCH", `/v1/agents/${items[0]?.id}`, { toolkits, knowledge: { enabled: false } });
  await api.request("POST", `/v1/agents/${items[0]?.id}/publish`);
});
afterAll(async () => {
  await shop?.stop();
  await composio?.stop();
});

function answerTo(result: string): string {
  if (/did not connect|not connected|declined/i.test(result)) return "Then I cannot send it.";
  return DONE;
}

const sent = () => composio.effectsOf("GMAIL_SEND_EMAIL");
const restart = async () => {
  await shop.kill();
  await shop.start();
};

async function ask(): Promise<Visitor> {
  const visitor = await visit(shop);
  await visitor.open();
  await visitor.ask("Mail me about my order");
  return visitor;
}

const button = (visitor: Visitor, name: string) => visitor.panel.getByRole("button", { name, exact: true });

/** Goes to the provider and decides there; the page that it ends on. */
async function consent(visitor: Visitor, decision: "Allow" | "Deny"): Promise<string> {
  const [provider] = await Promise.all([
    visitor.context.waitForEvent("page"),
    button(visitor, "Connect Gmail").click(),
  ]);
  await provider.getByRole("button", { name: decision }).click();
  const heading = provider.getByRole("heading", { level: 1 });
  await heading.waitFor();
  const text = await heading.innerText();
  await provider.close();
  return text;
}

test("a visitor connects their account, approves, and the call is made once", async () => {
  const before = sent();
  const visitor = await ask();
  expect(await consent(visitor, "Allow")).toBe("Gmail is connected");
  await button(visitor, "Approve").click();
  await visitor.sees(DONE);
  expect(sent() - before).toBe(1);
  // The account is theirs from then on: nobody is asked for it again.
  await visitor.ask("And once more");
  await button(visitor, "Approve").click();
  await waitFor(() => sent() - before === 2, { describe: "the second mail" });
  await visitor.isDone();
  await waitFor(async () => (await visitor.read()).split(DONE).length === 3, { describe: "the second answer" });
  // What was decided is a part of the conversation: a reload shows it where it was.
  const shown = await visitor.read();
  expect(shown).toMatch(/Connected: Gmail\s+Approved: [^]*Approved: /);
  await visitor.page.reload();
  let reloaded = "";
  await waitFor(async () => (reloaded = await visitor.read()) === shown, {
    describe: () => `the same as before the reload:\n${shown}\nnot:\n${reloaded}`,
  });
  expect(visitor.complaints).toEqual([]);
});

test("who does not connect is answered without it", async () => {
  const before = sent();
  const visitor = await ask();
  await button(visitor, "Not now").click();
  await visitor.sees("Then I cannot send it.");
  expect(sent()).toBe(before);
});

test("consent that is denied can be given after all, by a new link", async () => {
  const before = sent();
  const visitor = await ask();
  expect(await consent(visitor, "Deny")).toBe("Gmail was not connected");
  const [provider] = await Promise.all([
    visitor.context.waitForEvent("page"),
    button(visitor, "Open the page again").click(),
  ]);
  await provider.getByRole("button", { name: "Allow" }).click();
  await button(visitor, "Approve").click();
  await visitor.sees(DONE);
  expect(sent() - before).toBe(1);
});

test("the same with everything killed at each step: the ledger still shows one call", async () => {
  const before = sent();
  const visitor = await ask();
  await button(visitor, "Connect Gmail").waitFor();
  await restart();
  expect(await consent(visitor, "Allow")).toBe("Gmail is connected");
  await button(visitor, "Approve").waitFor();
  await restart();
  composio.enqueueFaults("tools.execute", { kind: "hang", when: "after" });
  await button(visitor, "Approve").click();
  await waitFor(() => sent() - before === 1, { describe: "the call to be made", timeoutMs: 20_000 });
  // In the middle of it: it was made, and nobody was told.
  await restart();
  const run = await waitFor(
    async () => {
      const { items } = await api.request<Listed<Run>>("GET", "/v1/runs?limit=1");
      return items[0]?.interrupts[0]?.reason === "operator" ? items[0] : null;
    },
    { describe: "an operator to be asked what became of it", timeoutMs: 60_000 },
  );
  const [interrupt] = run.interrupts;
  expect(interrupt?.metadata).toMatchObject({ outcome: "unknown", tool: toolName });
  await api.request("POST", `/v1/runs/${run.id}/resume`, { interruptId: interrupt?.id, decision: "done" });
  await visitor.sees(DONE);
  expect(sent() - before).toBe(1);
});
