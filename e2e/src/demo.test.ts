/** The demo page without any model: what a newcomer meets after `npm start`. */
import { SHOP } from "@agent-engine/core/demo/shop.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { openDemoShop, type DemoShop } from "./demo-shop.ts";
import { contrasts, listen, said } from "./in-page.ts";
import { visit, type Visitor } from "./visitor.ts";

const QUESTION = "How long do I have to return something?";
const ANSWER = "You may return anything within 30 days of receiving it";

let shop: DemoShop;
let visitor: Visitor;

beforeAll(async () => {
  shop = await openDemoShop({ model: false });
});

afterEach(async () => {
  await visitor.context.close();
  // The page's policy forbids inline code and unknown origins: what it blocks is an error in the console.
  if (visitor.complaints.length > 0) throw new Error(`The console says: ${visitor.complaints.join("\n")}`);
});

afterAll(async () => {
  await shop?.stop();
});

test("a question is answered with a quotation and the document it comes from", async () => {
  visitor = await visit(shop);
  await visitor.open();
  const { panel } = visitor;
  await panel.getByText(SHOP.greeting).waitFor();
  await panel.getByText("This is not a language model").waitFor();
  await visitor.ask(QUESTION);
  await visitor.sees(ANSWER);
  await visitor.isDone();

  const returns = SHOP.documents.find(({ title }) => title === "Returns and refunds");
  const chip = panel
    .getByRole("group", { name: "Sources" })
    .getByRole("button", { name: "Source 1: Returns and refunds" });
  await chip.click();
  const link = panel.getByRole("link", { name: "Open the page" });
  expect(await link.getAttribute("href")).toBe(returns?.url);
  expect(await link.getAttribute("target")).toBe("_blank");
  expect(await link.getAttribute("rel")).toContain("noopener");
  expect(returns?.text).toContain(await panel.getByRole("blockquote").innerText());
  const { background, unreadable } = await panel.evaluate(contrasts);
  expect(background).toBeGreaterThan(0.9);
  expect(unreadable).toEqual([]);
  await panel.getByRole("button", { name: "1", exact: true }).click();

  await visitor.ask("Is shipping in Norway free?");
  await visitor.sees("free for orders over 800 kr");
  await visitor.isDone();
  // The page promises what its assistant says.
  await visitor.page.getByText("Free shipping in Norway over 800 kr · 30 days to return").waitFor();

  await visitor.ask("What is the capital of Mongolia?");
  await visitor.sees("could not find anything about that");
});

test("a suggested question asks itself, and a new conversation begins with the greeting", async () => {
  visitor = await visit(shop);
  await visitor.open();
  await visitor.panel.getByRole("group", { name: "Suggested questions" }).getByRole("button").first().click();
  await visitor.sees("Delivery within Norway takes 1 to 3 working days");
  await visitor.isDone();
  await visitor.panel.getByRole("button", { name: "New conversation" }).click();
  await visitor.panel.getByText(SHOP.greeting).waitFor();
  await visitor.log.waitFor({ state: "detached" });
  await visitor.page.reload();
  await visitor.panel.getByText(SHOP.greeting).waitFor();
});

test("the keyboard is enough: Enter opens, Tab reaches everything, Escape closes and gives the focus back", async () => {
  visitor = await visit(shop);
  const { page, launcher, input, panel } = visitor;
  const { keyboard } = page;
  const hasFocus = (selector: string) => page.locator(`agent-widget ${selector}:focus`).waitFor({ state: "attached" });
  await launcher.focus();
  await keyboard.press("Enter");
  await hasFocus("textarea");
  await keyboard.type(QUESTION);
  await keyboard.press("Enter");
  await visitor.sees(ANSWER);
  await visitor.isDone();
  await hasFocus("textarea");
  const source = panel.getByRole("button", { name: /^Source 1/ });
  await source.waitFor();
  await keyboard.press("Shift+Tab");
  await hasFocus(".chip");
  await keyboard.press("Enter");
  await panel.getByRole("link", { name: "Open the page" }).waitFor();
  expect(await source.getAttribute("aria-expanded")).toBe("true");

  await keyboard.press("Escape");
  await panel.waitFor({ state: "hidden" });
  await hasFocus("[part=launcher]");
  await keyboard.press("Space");
  await hasFocus("textarea");
  expect(await input.inputValue()).toBe("");
});

describe("a phone", () => {
  const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

  test("is filled by the panel; nothing scrolls sideways, and the input does not make the page zoom", async () => {
    visitor = await visit(shop, PHONE);
    const { page, panel, input, log } = visitor;
    const overflowPx = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(await overflowPx()).toBeLessThanOrEqual(0);
    await visitor.open();
    expect(await panel.getAttribute("aria-modal")).toBe("true");
    // It rises into its place.
    await waitFor(async () => (await panel.boundingBox())?.y === 0, { describe: "the panel to stand still" });
    expect(await panel.boundingBox()).toEqual({ x: 0, y: 0, ...PHONE.viewport });
    expect(await input.evaluate((element) => getComputedStyle(element).fontSize)).toBe("16px");
    await visitor.ask(`${QUESTION} ${"unbreakable".repeat(20)}`);
    await visitor.sees(ANSWER);
    await visitor.isDone();
    expect(await log.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
    expect(await overflowPx()).toBeLessThanOrEqual(0);
    for (const name of ["Close chat", "New conversation", "Send"]) {
      const box = await panel.getByRole("button", { name }).boundingBox();
      expect(
        Math.min(box?.width ?? 0, box?.height ?? 0),
        `${name} is large enough for a finger`,
      ).toBeGreaterThanOrEqual(32);
    }
    await panel.getByRole("button", { name: "Close chat" }).tap();
    await panel.waitFor({ state: "hidden" });
  });

  test("on its side is filled too, and what does not fit can be scrolled to", async () => {
    visitor = await visit(shop, { ...PHONE, viewport: { width: 844, height: 390 } });
    const { panel, input } = visitor;
    await visitor.open();
    await waitFor(async () => (await panel.boundingBox())?.y === 0, { describe: "the panel to stand still" });
    expect(await panel.boundingBox()).toEqual({ x: 0, y: 0, width: 844, height: 390 });
    expect(await input.evaluate((element) => getComputedStyle(element).fontSize)).toBe("16px");
    const greeting = panel.getByText(SHOP.greeting);
    await greeting.evaluate((element) => element.scrollIntoView({ block: "start" }));
    const header = await panel.locator("header").boundingBox();
    expect((await greeting.boundingBox())?.y).toBeGreaterThanOrEqual((header?.y ?? 0) + (header?.height ?? 0));
  });

  test("in the dark is dark, and everything on it can be read", async () => {
    visitor = await visit(shop, { ...PHONE, colorScheme: "dark" });
    await visitor.open();
    await visitor.ask(QUESTION);
    await visitor.sees(ANSWER);
    await visitor.panel.getByRole("button", { name: /^Source 1/ }).tap();
    await visitor.panel.getByRole("link", { name: "Open the page" }).waitFor();
    const { background, unreadable } = await visitor.panel.evaluate(contrasts);
    expect(background).toBeLessThan(0.05);
    expect(unreadable).toEqual([]);
  });
});

test("a screen reader finds a labelled dialog with a log, and hears the finished answer once", async () => {
  visitor = await visit(shop);
  const { launcher, panel, announcer } = visitor;
  expect(await launcher.ariaSnapshot()).toMatch(/- button "(Open chat|Chat)"/);
  await visitor.open();
  await panel.getByText(SHOP.greeting).waitFor();
  await announcer.evaluate(listen);
  await visitor.ask(QUESTION);
  await visitor.sees(ANSWER);
  await visitor.isDone();
  await announcer.getByText(ANSWER).waitFor({ state: "attached" });
  const announced = await announcer.evaluate(said);
  expect(announced).toHaveLength(1);
  expect(announced[0]).not.toMatch(/[[\]*]/);

  const tree = await panel.ariaSnapshot();
  expect(tree).toMatch(/- dialog "Fern"/);
  expect(tree).toMatch(/- heading "Fern" \[level=2\]/);
  expect(tree).toMatch(/- log "Conversation"/);
  expect(tree).toMatch(/- textbox "Message"/);
  // Nothing that can be operated is without a name.
  expect(tree.match(/- (button|link|textbox|group|dialog)(?! ")/g)).toBeNull();
  expect(await launcher.ariaSnapshot()).toBe('- button "Close chat" [expanded]');
});
