/** The demo page with a language model whose answer stands still where a test wants to do something to it. */
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openDemoShop, type DemoShop } from "./demo-shop.ts";
import { visit, type Visitor } from "./visitor.ts";

const QUESTION = "How do I wash my rain jacket?";
const FIRST_PART = "Wash it at 40 degrees with liquid detergent, zips closed, twice a season. ";
const REST = "Afterwards tumble-dry it for 20 minutes on low heat, which wakes up the water repellency.";

let shop: DemoShop;
let visitor: Visitor;

beforeAll(async () => {
  shop = await openDemoShop({ model: true });
});

beforeEach(async () => {
  answersStandStill();
  visitor = await visit(shop);
  await visitor.open();
});

afterEach(async () => {
  await visitor.context.close();
});

afterAll(async () => {
  await shop?.stop();
});

function answersStandStill(): void {
  const steps = [{ kind: "text", text: FIRST_PART }, { kind: "hold" }, { kind: "text", text: REST }] as const;
  shop.model.setScript(() => ({ steps }));
}

function answersAre(text: string): void {
  shop.model.setScript(() => ({ steps: [{ kind: "text", text }] }));
}

/** Lets the answers of now go on, and those of later come in one go. */
function goOn(): void {
  answersAre(FIRST_PART + REST);
  for (const request of shop.model.requests) request.release();
}

async function seesWholeAnswer(by: Visitor): Promise<void> {
  await by.sees(FIRST_PART + REST);
  await by.isDone();
  await by.sees(QUESTION);
  await by.sees(FIRST_PART + REST);
}

describe("an answer", () => {
  beforeEach(async () => {
    await visitor.ask(QUESTION);
    await visitor.sees(FIRST_PART);
  });

  test("can be stopped: what was written stays and is marked, and the next message works", async () => {
    const { page, stopButton, log } = visitor;
    await stopButton.focus();
    await page.keyboard.press("Enter");
    await visitor.isDone();
    await log.getByText("Stopped", { exact: true }).waitFor();
    await visitor.sees(FIRST_PART);
    const request = shop.model.requests.at(-1);
    await request?.ended;
    expect(request?.end).toBe("client_gone");
    // The button is gone; a keyboard goes on in the input.
    await page.locator("agent-widget textarea:focus").waitFor();

    answersAre("Wool dries flat.");
    await visitor.ask("And a sweater?");
    await visitor.sees("Wool dries flat.");
    await visitor.isDone();
    expect(await visitor.read()).not.toContain("Afterwards");
    expect(visitor.complaints).toEqual([]);
  });

  test("goes on after a reload in the middle of it", async () => {
    const { page, panel } = visitor;
    await page.reload();
    await panel.waitFor();
    await visitor.sees(FIRST_PART);
    await visitor.stopButton.waitFor();
    goOn();
    await seesWholeAnswer(visitor);
    expect(visitor.complaints).toEqual([]);
  });

  test("goes on in a new tab after its own was closed", async () => {
    await visitor.page.close();
    const tab = await visitor.anotherTab();
    await tab.open();
    await tab.sees(FIRST_PART);
    goOn();
    await seesWholeAnswer(tab);
    expect(tab.complaints).toEqual([]);
  });

  test("that ends while nobody looks is there afterwards", async () => {
    await visitor.page.close();
    goOn();
    await shop.model.requests.at(-1)?.ended;
    const tab = await visitor.anotherTab();
    await tab.open();
    await seesWholeAnswer(tab);
  });

  test("survives a crash: the page waits, connects again by itself, and shows it once", async () => {
    await shop.kill();
    const { panel } = visitor;
    await panel.getByRole("status").getByText("Reconnecting…").waitFor();
    await visitor.sees(FIRST_PART);
    goOn();
    await shop.start();
    await seesWholeAnswer(visitor);
    await panel.getByText("Reconnecting…").waitFor({ state: "detached" });
    expect(visitor.pageLoads()).toBe(1);
  });

  test("can be stopped while the next question waits, which is then answered", async () => {
    await visitor.ask("And a sweater?");
    await visitor.sees("And a sweater?");
    answersAre("Wool dries flat.");
    await waitFor(async () => (await visitor.unsent()).length === 0, { describe: "the second question to be stored" });
    await visitor.stopButton.click();
    await visitor.log.getByText("Stopped", { exact: true }).waitFor();
    await visitor.sees("Wool dries flat.");
    await visitor.isDone();
    expect(await visitor.read()).not.toContain("Afterwards");
  });
});

test("a question that could not be sent is sent by itself once there is a connection", async () => {
  const { page } = visitor;
  await visitor.panel.getByText("Ask me about").waitFor();
  // As trying in vain leaves it, after some ten seconds.
  await page.evaluate((text) => {
    const session = Object.keys(localStorage).find((key) => key.endsWith(":session")) ?? "";
    const unsent = { clientMessageId: "left-over", text, after: 0, error: { code: "network", message: "" } };
    localStorage.setItem(session.replace(/session$/, "outbox"), JSON.stringify([unsent]));
  }, QUESTION);
  goOn();
  await page.reload();
  await seesWholeAnswer(visitor);
  expect(await visitor.unsent()).toEqual([]);
});

describe("two tabs of one visitor", () => {
  test("show the same conversation as it streams in, though both were open before it began", async () => {
    const other = await visitor.anotherTab();
    await other.open();
    await visitor.ask(QUESTION);
    await visitor.sees(FIRST_PART);
    await other.sees(QUESTION);
    await other.sees(FIRST_PART);
    expect(await visitor.read()).not.toContain("Afterwards");
    goOn();
    await seesWholeAnswer(visitor);
    await seesWholeAnswer(other);

    await other.ask("Asked in the other tab");
    await visitor.sees("Asked in the other tab");
    await Promise.all([visitor.isDone(), other.isDone()]);
    expect(await visitor.read()).toBe(await other.read());
    expect([...visitor.complaints, ...other.complaints]).toEqual([]);
  });
});

describe("a visitor whose network", () => {
  test("is gone for a while is told so, and catches up", async () => {
    const { context, panel } = visitor;
    await visitor.ask(QUESTION);
    await visitor.sees(FIRST_PART);
    await context.setOffline(true);
    await panel.getByRole("status").getByText("You are offline").waitFor();
    goOn();
    await context.setOffline(false);
    await panel.getByText("You are offline").waitFor({ state: "detached" });
    await seesWholeAnswer(visitor);
  });

  test("is gone while they write: what they wrote is sent when it is back", async () => {
    const { context, panel } = visitor;
    const notice = "You are offline. Messages are sent when you are back.";
    await context.setOffline(true);
    await panel.getByRole("status").getByText(notice).waitFor();
    await visitor.ask(QUESTION);
    await visitor.sees(QUESTION);
    // Nobody thinks about what nobody has read.
    expect(await panel.getByRole("status").allInnerTexts()).toEqual([notice]);
    goOn();
    await context.setOffline(false);
    await seesWholeAnswer(visitor);
  });

  test.each([
    ["lets no WebSocket through", ["**/realtime/**"]],
    ["lets no stream of any kind through", ["**/realtime/**", "**/stream"]],
  ])("%s reads the answer all the same", async (_what, blocked) => {
    const { page, context } = visitor;
    await context.routeWebSocket("**/realtime/**", (socket) => socket.close());
    for (const url of blocked) await context.route(url, (route) => route.abort());
    await page.reload();
    await visitor.panel.getByText("Ask me about").waitFor();
    await visitor.ask(QUESTION);
    await visitor.sees(FIRST_PART);
    goOn();
    await seesWholeAnswer(visitor);
    expect(await visitor.panel.getByText("Reconnecting").count()).toBe(0);
  });
});

test("a model that is down: the visitor reads what that means for them, and the next message works once it is back", async () => {
  const { panel } = visitor;
  await shop.model.refuseConnections();
  await visitor.ask("Is anybody there?");
  await panel.getByRole("status").getByText("Trying again").waitFor();
  await panel.getByRole("status").getByText("having trouble answering right now").waitFor();
  expect(await panel.innerText()).not.toMatch(/ECONN|refused|50\d|127\.0\.0\.1|openai/i);
  await shop.model.acceptConnections();
  answersAre("Here I am again.");
  await visitor.ask("And now?");
  await visitor.sees("Here I am again.");
  await visitor.isDone();
});
