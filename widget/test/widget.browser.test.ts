import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { citing, failing, inTwoParts, streaming } from "./answers.ts";
import { embed, openWorld, type Embedded, type PageOptions, type World } from "./harness.ts";

const PHONE = {
  viewport: { width: 390, height: 780 },
  isMobile: true,
  hasTouch: true,
  reducedMotion: "reduce" as const,
};

let world: World;
let embedded: Embedded | undefined;

beforeAll(async () => {
  world = await openWorld();
});
afterEach(async () => {
  await embedded?.close();
  embedded = undefined;
});
afterAll(() => world.close());

async function shop(options: PageOptions = {}): Promise<Embedded> {
  embedded = await embed(world, options);
  return embedded;
}

const launcher = (page: Page) => page.locator("[part=launcher]");
const panel = (page: Page) => page.getByRole("dialog");
const input = (page: Page) => page.getByRole("textbox", { name: "Message" });
const log = (page: Page) => page.getByRole("log");

async function open(page: Page): Promise<void> {
  await launcher(page).click();
  await input(page).waitFor();
}

async function ask(page: Page, text: string): Promise<void> {
  await input(page).fill(text);
  await page.keyboard.press("Enter");
}

/** What has the focus, inside of the widget or outside. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const active = document.activeElement;
    const inner = active?.shadowRoot?.activeElement ?? active;
    return inner?.getAttribute("aria-label") ?? inner?.id ?? "";
  });

describe("opening and closing", () => {
  it("loads nothing but one script until it is touched", async () => {
    const { page, engine } = await shop();
    const urls: string[] = [];
    page.on("request", (request) => urls.push(new URL(request.url()).pathname));
    await page.reload();
    await launcher(page).waitFor();
    expect(urls).toEqual(["/", "/widget.js"]);
    expect(engine.requests.size).toBe(0);
  });

  it("is a labelled button by keyboard, and puts the focus into the input", async () => {
    const { page } = await shop();
    await page.getByRole("button", { name: "Chat" }).waitFor();
    await page.locator("#before").focus();
    await page.keyboard.press("Tab");
    expect(await launcher(page).getAttribute("aria-expanded")).toBe("false");
    await page.keyboard.press("Enter");
    await panel(page).waitFor();
    await page.waitForFunction(() => document.activeElement?.shadowRoot?.activeElement?.tagName === "TEXTAREA");
    expect(await launcher(page).getAttribute("aria-expanded")).toBe("true");
    await page.getByRole("dialog", { name: "Ask Fake shop" }).waitFor();
  });

  it("closes with Escape and gives the focus back to the button", async () => {
    const { page } = await shop();
    await open(page);
    await page.keyboard.press("Escape");
    await panel(page).waitFor({ state: "hidden" });
    expect(await focused(page)).toBe("Open chat");
  });

  it("keeps what is typed in it from the page's own shortcuts", async () => {
    const { page } = await shop();
    await page.evaluate(() => document.addEventListener("keydown", () => (document.title = "heard")));
    await open(page);
    await page.keyboard.type("j/k");
    expect(await page.title()).toBe("A shop");
  });

  it("is open again after a reload, without taking the focus", async () => {
    const { page } = await shop();
    await open(page);
    await page.reload();
    await panel(page).waitFor();
    await input(page).waitFor();
    expect(await focused(page)).not.toBe("Message");
    await page.keyboard.press("Tab");
    await page.getByRole("button", { name: "Close chat" }).first().click();
    await page.reload();
    await launcher(page).waitFor();
    expect(await panel(page).isVisible()).toBe(false);
  });

  it("tells a screen reader who speaks, also where the conversation is there before the site", async () => {
    const { page } = await shop({ play: streaming("Good day.") });
    const site = Promise.withResolvers<void>();
    await open(page);
    await ask(page, "Hello");
    await log(page).getByText("Good day.").waitFor();
    await page.route("**/v1/visitor-sessions", async (route) => {
      await site.promise;
      await route.continue();
    });
    await page.reload();
    await log(page).getByText("Good day.").waitFor();
    expect(await log(page).innerText()).not.toContain("Ask Fake shop");
    site.resolve();
    await log(page).getByText("Ask Fake shop").waitFor();
  });

  it("covers a phone's screen, and keeps the focus inside there", async () => {
    const { page } = await shop({ browser: PHONE });
    await open(page);
    const box = await panel(page).boundingBox();
    expect(box).toMatchObject({ x: 0, y: 0, width: 390, height: 780 });
    expect(await panel(page).getAttribute("aria-modal")).toBe("true");
    expect(await input(page).evaluate((area) => getComputedStyle(area).fontSize)).toBe("16px");
    for (let presses = 0; presses < 12; presses++) {
      await page.keyboard.press("Tab");
      expect(await focused(page)).not.toBe("before");
    }
  });
});

describe("a conversation", () => {
  it("greets, offers questions, and sends the one that is picked", async () => {
    const { page } = await shop({ play: streaming("At ten.") });
    await open(page);
    await page.getByText("Hello! What would you like to know?").waitFor();
    await page.getByRole("button", { name: "When do you open?" }).click();
    await log(page).getByText("At ten.").waitFor();
    expect(await focused(page)).toBe("Message");
  });

  it("streams an answer as Markdown, with one element for what came in many pieces", async () => {
    const text = "We open at **ten**:\n\n- Monday\n- Tuesday\n\nSee [hours](https://shop.example/hours).";
    const { page, complaints } = await shop({ play: streaming(text) });
    await open(page);
    await ask(page, "When do you open?");
    await log(page).getByRole("link", { name: "hours" }).waitFor();
    expect(await log(page).locator("li").allTextContents()).toEqual(["Monday", "Tuesday"]);
    expect(await log(page).locator("strong").textContent()).toBe("ten");
    expect(complaints).toEqual([]);
  });

  it("goes on with an answer after a reload in the middle of it", async () => {
    const { play, goOn } = inTwoParts("It begins, ", "and it ends.");
    const { page, engine } = await shop({ play });
    await open(page);
    await ask(page, "Tell me");
    await log(page).getByText("It begins,").waitFor();
    await page.reload();
    await log(page).getByText("It begins,").waitFor();
    goOn();
    await log(page).getByText("It begins, and it ends.").waitFor();
    expect(await log(page).getByText("Tell me").count()).toBe(1);
    expect(engine.conversations.size).toBe(1);
  });

  it("goes on when its sockets are cut, and says nothing of a short cut", async () => {
    const { play, goOn } = inTwoParts("Before, ", "after.");
    const { page, engine } = await shop({ play });
    await open(page);
    await ask(page, "Tell me");
    await log(page).getByText("Before,").waitFor();
    engine.cutSockets();
    goOn();
    await log(page).getByText("Before, after.").waitFor();
  });

  it("works where WebSockets do not get through", async () => {
    const { page, engine } = await shop({ play: streaming("Over the stream.") });
    engine.realtime = "blocked";
    await open(page);
    await ask(page, "Hello");
    await log(page).getByText("Over the stream.").waitFor();
  });

  it("stops an answer", async () => {
    const { play } = inTwoParts("It begins, ", "never.");
    const { page } = await shop({ play });
    await open(page);
    await ask(page, "Tell me");
    await log(page).getByText("It begins,").waitFor();
    await page.getByRole("button", { name: "Stop the answer" }).click();
    await log(page).getByText("Stopped").waitFor();
    await page.getByRole("button", { name: "Send" }).waitFor();
  });

  it("breaks the line with Shift+Enter, and does not send nothing", async () => {
    const { page } = await shop({ play: streaming("Yes.") });
    await open(page);
    await page.keyboard.press("Enter");
    await input(page).fill("one");
    const before = (await input(page).boundingBox())?.height ?? 0;
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("two");
    expect((await input(page).boundingBox())?.height).toBeGreaterThan(before);
    await page.keyboard.press("Enter");
    await log(page).getByText("Yes.").waitFor();
    expect(await log(page).locator(".bubble").allTextContents()).toEqual(["one\ntwo"]);
  });

  it("shows the sources of an answer, and links only to what is safe", async () => {
    const { page } = await shop({ play: citing });
    await open(page);
    await ask(page, "When?");
    await page.getByRole("button", { name: "Source 1: Opening hours" }).click();
    await log(page).getByText("Open from 10:00 to 18:00.").waitFor();
    expect(await log(page).getByRole("link").getAttribute("href")).toBe("https://shop.example/hours");
    await log(page).locator(".mark").nth(1).click();
    await log(page).getByText("One working day.").waitFor();
    expect(await log(page).getByRole("link").count()).toBe(0);
  });

  it("tells a screen reader a finished answer once, without its signs", async () => {
    const { page } = await shop({ play: streaming("We open at **ten** [1].") });
    await open(page);
    await ask(page, "When?");
    const live = page.locator("[aria-live=polite]");
    await live.getByText("We open at ten").waitFor({ state: "attached" });
    expect((await live.textContent())?.trim()).toBe("We open at ten .");
    expect(await log(page).getAttribute("aria-live")).toBe("off");
  });

  it("marks the button when an answer ends while it is closed", async () => {
    const { play, goOn } = inTwoParts("Soon ", "done.");
    const { page } = await shop({ play });
    await open(page);
    await ask(page, "Hello");
    await log(page).getByText("Soon").waitFor();
    await page.keyboard.press("Escape");
    goOn();
    await page.getByRole("button", { name: "Open chat, new message" }).click();
    await log(page).getByText("Soon done.").waitFor();
    expect(await page.locator("agent-widget").getAttribute("unread")).toBeNull();
  });

  it("says whose words they are when the agent is no language model", async () => {
    const { page } = await shop({ site: { agent: { isLanguageModel: false } } });
    await open(page);
    await page.getByText("This is not a language model.").waitFor();
  });

  it("begins a new conversation when asked", async () => {
    const { page, engine } = await shop({ play: streaming("Yes.") });
    await open(page);
    await ask(page, "First");
    await log(page).getByText("Yes.").waitFor();
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByText("Hello! What would you like to know?").waitFor();
    await ask(page, "Second");
    await log(page).getByText("Yes.").waitFor();
    expect(engine.conversations.size).toBe(2);
  });
});

describe("when things go wrong", () => {
  it("says that a run failed, and tries again when asked", async () => {
    const { page, engine } = await shop({ play: failing });
    await open(page);
    await ask(page, "Hello");
    await page.getByText("The assistant could not finish this answer.").waitFor();
    engine.play = streaming("Now it works.");
    await page.getByRole("button", { name: "Try again" }).click();
    await log(page).getByText("Now it works.").waitFor();
  });

  it("keeps a message that was refused, to be sent again or removed", async () => {
    const { page, engine } = await shop({ play: streaming("Yes.") });
    await open(page);
    engine.faults.push({ path: /messages$/, answer: "too_large" });
    await ask(page, "Much too long");
    await page.getByRole("alert").getByText("The message is too long.").waitFor();
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByText("Much too long").waitFor({ state: "detached" });
  });

  it("says that the page is offline, and sends what was written then when it is back", async () => {
    const { page } = await shop({ play: streaming("Here again.") });
    await open(page);
    await page.context().setOffline(true);
    await page.getByText("You are offline.").waitFor();
    await ask(page, "Are you there?");
    await log(page).getByText("Are you there?").waitFor();
    expect(await page.getByText("Thinking…").count()).toBe(0);
    await page.context().setOffline(false);
    await log(page).getByText("Here again.").waitFor();
  });

  it("says to the visitor that it is not set up, and to the console why", async () => {
    const { page, engine, complaints } = await shop();
    engine.faults.push(
      { path: /visitor-sessions$/, answer: "origin_not_allowed" },
      { path: /visitor-sessions$/, answer: "origin_not_allowed" },
    );
    await launcher(page).click();
    await page.getByText("This chat is not set up for this page.").waitFor();
    expect(complaints.join("\n")).toContain("origin_not_allowed");
  });

  it("tries again to load the panel after that failed", async () => {
    const { page } = await shop();
    await page.route("**/widget/panel-*", (route) => route.abort());
    await launcher(page).click();
    await page.waitForFunction(() => !document.querySelector("agent-widget")?.hasAttribute("open"));
    await page.unroute("**/widget/panel-*");
    await open(page);
  });

  it("is examined by the doctor", async () => {
    const { page } = await shop();
    await open(page);
    await page.waitForFunction(async () => (await window.AgentWidget?.doctor())?.ok);
    const broken = await shop({ body: `<script src="{api}/widget.js" async></script>` });
    await broken.page.waitForFunction(() => window.AgentWidget);
    const report = await broken.page.evaluate(() => window.AgentWidget?.doctor());
    expect(report?.ok).toBe(false);
    expect(report?.checks.find(({ name }) => name === "key")?.detail).toContain("data-key");
  });
});

describe("the page's side", () => {
  it("opens, sends, resets and destroys by script, and hears of it", async () => {
    const { page } = await shop({ play: streaming("Done.") });
    await page.waitForFunction(() => window.AgentWidget);
    await page.evaluate(() => {
      const heard: string[] = [];
      Object.assign(window, { heard });
      for (const name of ["open", "close", "message", "run"] as const) {
        window.AgentWidget?.on(name, ({ detail }: CustomEventInit) =>
          heard.push([name, detail?.role ?? detail?.status ?? ""].join(" ")),
        );
      }
      document.addEventListener("agent-widget:open", () => heard.push("on the document"));
    });
    await page.evaluate(() => window.AgentWidget?.send("Hello"));
    await log(page).getByText("Done.").waitFor();
    await page.evaluate(() => window.AgentWidget?.close());
    await panel(page).waitFor({ state: "hidden" });
    const heard = await page.evaluate(() => (window as unknown as { heard: string[] }).heard);
    expect(heard).toEqual(
      expect.arrayContaining([
        "open ",
        "on the document",
        "message user",
        "message assistant",
        "run completed",
        "close ",
      ]),
    );
    await page.evaluate(() => window.AgentWidget?.destroy());
    expect(await page.locator("agent-widget").count()).toBe(0);
    expect(await page.evaluate(() => window.AgentWidget)).toBeUndefined();
  });

  it("takes a theme, dark or light and by properties", async () => {
    const { page } = await shop();
    await open(page);
    const colors = () =>
      panel(page).evaluate((element) => [
        getComputedStyle(element).backgroundColor,
        getComputedStyle(element).borderRadius,
      ]);
    expect(await colors()).toEqual(["rgb(255, 255, 255)", "16px"]);
    await page.evaluate(() => window.AgentWidget?.setTheme("dark"));
    expect((await colors())[0]).toBe("rgb(22, 24, 29)");
    await page.evaluate(() => window.AgentWidget?.setTheme({ radius: "4px", background: "#fafafa" }));
    expect(await colors()).toEqual(["rgb(250, 250, 250)", "4px"]);
  });

  it("takes the site's theme where the page has none, with text that can be read on its accent", async () => {
    const { page } = await shop({
      site: { theme: { accent: "#ffd400", radius: "6px" } },
      body: `<style>agent-widget { --agent-widget-radius: 20px }</style><script src="{api}/widget.js" data-key="pk_fake" async></script>`,
    });
    await open(page);
    await page.waitForFunction(() => document.querySelector("agent-widget")?.getAttribute("style")?.includes("accent"));
    const style = (name: "backgroundColor" | "color") =>
      launcher(page).evaluate((button, name) => getComputedStyle(button)[name], name);
    expect(await style("backgroundColor")).toBe("rgb(255, 212, 0)");
    expect(await style("color")).toBe("rgb(0, 0, 0)");
    expect(await panel(page).evaluate((element) => getComputedStyle(element).borderRadius)).toBe("20px");
  });

  it("leaves the page's style alone, and is left alone by it", async () => {
    const body = `<style>* { font: 40px/3 cursive !important; color: red !important } button { display: none }</style>
      <script src="{api}/widget.js" data-key="pk_fake" async></script>`;
    const { page } = await shop({ body });
    const styles = () => page.evaluate(() => [document.styleSheets.length, document.adoptedStyleSheets.length]);
    const before = await styles();
    await page.evaluate(() => window.AgentWidget?.open());
    await panel(page).waitFor();
    expect(await styles()).toEqual(before);
    expect(await panel(page).evaluate((element) => getComputedStyle(element).fontSize)).toBe("15px");
    expect(await panel(page).evaluate((element) => getComputedStyle(element).color)).toBe("rgb(22, 24, 29)");
  });

  it("is one widget, however often its script runs", async () => {
    const tag = `<script src="{api}/widget.js" data-key="pk_fake" async></script>`;
    const { page, complaints } = await shop({ body: tag + tag });
    await launcher(page).waitFor();
    await page.waitForLoadState("networkidle");
    expect(await page.locator("agent-widget").count()).toBe(1);
    expect(complaints).toEqual([]);
  });

  it("can stand in the page where its element is placed", async () => {
    const body = `<agent-widget site-key="pk_fake" mode="inline"></agent-widget><script src="{api}/widget.js" async></script>`;
    const { page } = await shop({ body, play: streaming("Inline.") });
    await input(page).waitFor();
    expect(await launcher(page).isVisible()).toBe(false);
    expect(await focused(page)).not.toBe("Message");
    await ask(page, "Hello");
    await log(page).getByText("Inline.").waitFor();
  });

  it("works without storage", async () => {
    const { page } = await shop({
      play: streaming("Yes."),
      body: `<script>for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError") } })</script>
        <script src="{api}/widget.js" data-key="pk_fake" async></script>`,
    });
    await open(page);
    await ask(page, "Hello");
    await log(page).getByText("Yes.").waitFor();
  });
});
