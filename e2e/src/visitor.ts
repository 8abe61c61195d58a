/** A person on the demo page: what they see and do, by the names and roles that a screen reader would use too. */
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { BrowserContext, BrowserContextOptions, Locator, Page } from "playwright-core";
import type { DemoShop } from "./demo-shop.ts";

export interface Visitor {
  context: BrowserContext;
  page: Page;
  /** Errors and warnings of the page's console, its uncaught errors and violations of its policy. */
  complaints: string[];
  /** Requests for the page itself: a reload by hand or by a script would count. */
  pageLoads(): number;
  launcher: Locator;
  panel: Locator;
  log: Locator;
  input: Locator;
  stopButton: Locator;
  /** The region that tells a screen reader of a finished answer. */
  announcer: Locator;
  open(): Promise<void>;
  ask(text: string): Promise<void>;
  /** Waits until the log shows the text, once and no more. */
  sees(text: string): Promise<void>;
  /** Waits until no answer is being written. */
  isDone(): Promise<void>;
  /** The log as it reads. */
  read(): Promise<string>;
  /** Messages that the server has not acknowledged. */
  unsent(): Promise<unknown[]>;
  /** Another tab of the same browser. */
  anotherTab(): Promise<Visitor>;
}

export async function visit(shop: DemoShop, options: BrowserContextOptions = {}): Promise<Visitor> {
  return openTab(shop, await shop.browser.newContext(options));
}

async function openTab(shop: DemoShop, context: BrowserContext): Promise<Visitor> {
  const page = await context.newPage();
  const complaints: string[] = [];
  let loads = 0;
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("domcontentloaded", () => loads++);
  await page.goto(shop.demoUrl);

  const widget = page.locator("agent-widget");
  const panel = page.getByRole("dialog", { name: "Fern" });
  const log = panel.getByRole("log", { name: "Conversation" });
  const input = panel.getByRole("textbox", { name: "Message" });
  const stopButton = panel.getByRole("button", { name: "Stop the answer" });
  const read = () => log.innerText();
  return {
    context,
    page,
    complaints,
    pageLoads: () => loads,
    launcher: widget.locator("[part=launcher]"),
    panel,
    log,
    input,
    stopButton,
    announcer: panel.locator("[aria-live=polite]"),
    async open() {
      await page
        .getByRole("button", { name: "Open chat" })
        .or(page.getByRole("button", { name: "Chat" }))
        .first()
        .click();
      await panel.waitFor();
    },
    async ask(text) {
      await input.fill(text);
      await input.press("Enter");
    },
    async sees(text) {
      let last = "";
      await waitFor(
        async () => {
          last = normal(await read());
          return last.split(normal(text)).length === 2;
        },
        { describe: () => `“${text}”, once, in:\n${last}`, timeoutMs: 20_000 },
      );
    },
    async isDone() {
      await stopButton.waitFor({ state: "detached" });
    },
    read,
    unsent: () =>
      page.evaluate(
        () =>
          JSON.parse(
            localStorage[Object.keys(localStorage).find((key) => key.endsWith(":outbox")) ?? ""] ?? "[]",
          ) as unknown[],
      ),
    anotherTab: () => openTab(shop, context),
  };
}

const normal = (text: string): string => text.replace(/\s+/g, " ").trim();
