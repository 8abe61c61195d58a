/** What a run asks of its visitor: approvals, accounts and forms. */
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { embed, openWorld, STRICT_POLICY, type Embedded, type PageOptions, type World } from "./harness.ts";
import { complaintsAbout } from "./in-page.ts";
import { approval, asking, connection, form } from "./questions.ts";

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

/** A page where the visitor has asked for something, and `play` asks back. */
async function asked(play: PageOptions["play"], options: PageOptions = {}): Promise<Embedded> {
  embedded = await embed(world, { ...options, play });
  const { page } = embedded;
  await page.locator("[part=launcher]").click();
  await input(page).fill("Please do it");
  await page.keyboard.press("Enter");
  await log(page).getByText("I can do that.").waitFor();
  return embedded;
}

const input = (page: Page) => page.getByRole("textbox", { name: "Message" });
const log = (page: Page) => page.getByRole("log");
const card = (page: Page, name: string) => log(page).getByRole("group", { name, exact: true });
const isInComposer = (page: Page) =>
  page.evaluate(() => !!document.activeElement?.shadowRoot?.activeElement?.closest(".composer"));

/** The only run of the only conversation, and the interrupts it waits for. */
function waitingRun({ engine }: Embedded) {
  const [conversation] = engine.conversations.values();
  const runId = conversation?.log.at(-1)?.runId ?? "";
  return { runId, open: engine.interrupts.openOf(runId).map(({ id }) => id) };
}

describe("an approval", () => {
  it("says what would be done, is approved once, and becomes a line where it was", async () => {
    const { page, engine, complaints } = await asked(asking(approval()));
    const ask = card(page, "Cancel order");
    await ask.getByText("Cancels an order that has not been sent yet.").waitFor();
    expect(await ask.getByRole("term").allTextContents()).toEqual(["Order number", "Refund", "Reason"]);
    expect(await ask.getByRole("definition").allTextContents()).toEqual(["A-1042", "Yes", "Ordered twice by mistake"]);
    expect(await log(page).getByText("The assistant needs approval").count()).toBe(0);
    await ask.getByRole("button", { name: "Approve" }).dblclick();
    await log(page).getByText("Decided: approve null").waitFor();
    expect(await log(page).innerText()).toMatch(
      /I can do that\.\s+Approved: Cancel order\s+Ask Fake shop\s+Decided: approve/,
    );
    expect(engine.requests.get("POST /v1/runs/run_{id}/resume")).toBe(1);
    expect(complaints).toEqual([]);
  });

  it("is declined by keyboard, and the focus goes back to the message", async () => {
    const { page } = await asked(asking(approval()));
    await card(page, "Cancel order").getByRole("button", { name: "Decline" }).focus();
    await page.keyboard.press("Enter");
    await log(page).getByText("Declined: Cancel order").waitFor();
    expect(await isInComposer(page)).toBe(true);
  });

  it("leaves the focus with who is writing, and is told to screen readers", async () => {
    const { page } = await asked(asking(approval()));
    await card(page, "Cancel order").waitFor();
    expect(await isInComposer(page)).toBe(true);
    const live = page.locator("[aria-live=polite]");
    await live.getByText("Your answer is needed: Cancel order").waitFor({ state: "attached" });
  });

  it("cuts what is long, and shows all of it when asked", async () => {
    const { page } = await asked(asking(approval({ arguments: { text: `${"long ".repeat(100)}end` } })));
    const value = card(page, "Cancel order").getByRole("definition");
    expect(await value.innerText()).toMatch(/long… Show all$/);
    await value.getByText("Show all").click();
    expect(await value.innerText()).toMatch(/end$/);
    await value.getByText("Show less").click();
    expect(await value.innerText()).toMatch(/Show all$/);
  });

  it("shows several, each decided by itself", async () => {
    const { page } = await asked(asking(approval(), approval({ tool: "shop_send_gift" })));
    await card(page, "Cancel order").getByRole("button", { name: "Decline" }).click();
    await log(page).getByText("Declined: Cancel order").waitFor();
    await card(page, "Send gift").getByRole("button", { name: "Approve" }).click();
    await log(page).getByText("Decided: decline null, approve null").waitFor();
    expect(await log(page).innerText()).toMatch(
      /Declined: Cancel order\s+Approved: Send gift\s+Ask Fake shop\s+Decided/,
    );
  });

  it("that is the team's says so, and offers nothing", async () => {
    const at = await asked(asking(approval({ by: "operator" })));
    const ask = card(at.page, "Cancel order");
    await ask.getByText("Someone from the team has to confirm this").waitFor();
    expect(await ask.getByRole("button").count()).toBe(0);
    expect(await ask.getByRole("term").count()).toBe(0);
    const { runId, open } = waitingRun(at);
    at.engine.interrupts.decide(runId, open[0] ?? "", { decision: "approve", payload: null, by: "operator" });
    await log(at.page).getByText("Approved: Cancel order").waitFor();
  });

  it.each([
    ["an operator", "operator", "Declined: Cancel order"],
    ["nobody in time", "expiry", "Not answered in time: Cancel order"],
  ])("that %s decided becomes a line here", async (_name, by, line) => {
    const at = await asked(asking(approval()));
    await card(at.page, "Cancel order").waitFor();
    const { runId, open } = waitingRun(at);
    at.engine.interrupts.decide(runId, open[0] ?? "", { decision: "decline", payload: null, by });
    await log(at.page).getByText(line).waitFor();
  });

  it("decided by somebody faster follows them", async () => {
    const at = await asked(asking(approval()));
    const { page, engine } = at;
    await card(page, "Cancel order").waitFor();
    // What happens elsewhere does not arrive here yet.
    engine.mangle = () => [];
    const { runId, open } = waitingRun(at);
    engine.interrupts.decide(runId, open[0] ?? "", { decision: "decline", payload: null, by: "operator" });
    await card(page, "Cancel order").getByRole("button", { name: "Approve" }).click();
    await log(page).getByText("Declined: Cancel order").waitFor();
  });

  it("says why it could not be sent, and is tried again", async () => {
    const { page, engine } = await asked(asking(approval()));
    engine.faults.push({ path: /resume$/, answer: "invalid_request" });
    const ask = card(page, "Cancel order");
    await ask.getByRole("button", { name: "Approve" }).click();
    await ask.getByRole("alert").waitFor();
    await ask.getByRole("button", { name: "Approve" }).click();
    await log(page).getByText("Approved: Cancel order").waitFor();
  });

  it("goes with its run when that is stopped", async () => {
    const { page } = await asked(asking(approval()));
    await card(page, "Cancel order").waitFor();
    await page.getByRole("button", { name: "Stop the answer" }).click();
    await card(page, "Cancel order").waitFor({ state: "detached" });
    await log(page).getByText("Stopped").waitFor();
  });

  it("is there again after a reload, and when the panel loaded only at the second try", async () => {
    const { page } = await asked(asking(approval()));
    await card(page, "Cancel order").waitFor();
    await page.route("**/widget/panel-*.js", (route) => route.abort(), { times: 1 });
    await page.reload();
    await page.waitForFunction(() => !document.querySelector("agent-widget")?.hasAttribute("open"));
    await page.locator("[part=launcher]").click();
    await card(page, "Cancel order").getByRole("button", { name: "Approve" }).click();
    await log(page).getByText("Decided: approve null").waitFor();
  });
});

describe("an account", () => {
  it("is connected in a tab of its own, and the run goes on by itself", async () => {
    const { page, complaints } = await asked(asking(connection));
    const ask = card(page, "Connect Gmail");
    const opening = page.waitForEvent("popup");
    await ask.getByRole("button", { name: "Connect Gmail" }).click();
    const tab = await opening;
    await tab.getByRole("link", { name: "Allow" }).waitFor();
    expect(await tab.evaluate(() => window.opener)).toBeNull();
    await ask.getByText("Waiting for Gmail…").waitFor();
    await tab.getByRole("link", { name: "Allow" }).click();
    await log(page).getByText("Connected: Gmail").waitFor();
    await log(page).getByText("Decided: connected null").waitFor();
    expect(complaints).toEqual([]);
  });

  it("is connected on another device", async () => {
    const at = await asked(asking(connection));
    await card(at.page, "Connect Gmail").waitFor();
    const { runId, open } = waitingRun(at);
    at.engine.interrupts.connect(at.engine.interrupts.link(runId, open[0] ?? "") ?? "");
    await log(at.page).getByText("Connected: Gmail").waitFor();
  });

  it("opens again with a link of its own, since each is good once", async () => {
    const { page, engine } = await asked(asking(connection), { linkTtlMs: 3_600_000 });
    const ask = card(page, "Connect Gmail");
    const open = async (name: string) => {
      const opening = page.waitForEvent("popup");
      await ask.getByRole("button", { name }).click();
      const tab = await opening;
      await tab.getByRole("link", { name: "Allow" }).waitFor();
      return tab.url();
    };
    const first = await open("Connect Gmail");
    expect(await open("Open the page again")).not.toBe(first);
    expect(engine.requests.get("POST /v1/connections/link")).toBe(2);
  });

  it("is a plain link where the browser lets no page open", async () => {
    const { page } = await asked(asking(connection));
    await page.evaluate(() => Object.assign(window, { open: () => null }));
    const ask = card(page, "Connect Gmail");
    await ask.getByRole("button", { name: "Connect Gmail" }).click();
    const link = ask.getByRole("link", { name: "Open the page" });
    expect(await link.getAttribute("rel")).toContain("noopener");
    const opening = page.waitForEvent("popup");
    await link.click();
    await (await opening).getByRole("link", { name: "Allow" }).click();
    await log(page).getByText("Connected: Gmail").waitFor();
  });

  it("need not be: the run goes on without", async () => {
    const { page } = await asked(asking(connection));
    await card(page, "Connect Gmail").getByRole("button", { name: "Not now" }).click();
    await log(page).getByText("Not connected: Gmail").waitFor();
  });

  it("says that no link was to be had, closes the tab, and is tried again", async () => {
    const { page, engine } = await asked(asking(connection));
    engine.faults.push({ path: /connections\/link$/, answer: "invalid_request" });
    const ask = card(page, "Connect Gmail");
    const opening = page.waitForEvent("popup");
    await ask.getByRole("button", { name: "Connect Gmail" }).click();
    const tab = await opening;
    await ask.getByRole("alert").waitFor();
    await waitFor(() => tab.isClosed(), { describe: "the empty tab to be closed" });
    const again = page.waitForEvent("popup");
    await ask.getByRole("button", { name: "Connect Gmail" }).click();
    await (await again).getByRole("link", { name: "Allow" }).waitFor();
  });
});

describe("a form", () => {
  it("says what is missing or wrong, and sends what was filled in", async () => {
    const { page, complaints } = await asked(asking(form));
    const ask = card(page, "Book a table");
    const field = (name: string) => ask.getByLabel(name);
    await field("E-mail").fill("kari");
    await ask.getByRole("button", { name: "Send" }).click();
    await ask.getByText("Please fill this in.").first().waitFor();
    await ask.getByText("This is not an e-mail address.").waitFor();
    expect(await field("Name").getAttribute("aria-invalid")).toBe("true");
    expect(await field("Name").evaluate((element: HTMLElement) => element.matches(":focus"))).toBe(true);
    await field("Name").fill("Kari");
    await field("E-mail").fill("kari@example.no");
    await field("How many are you?").fill("4");
    await field("Day").fill("2026-12-01");
    await field("Where").selectOption("Outside");
    await ask.getByRole("button", { name: "Send" }).click();
    const sent = { name: "Kari", email: "kari@example.no", people: 4, day: "2026-12-01", room: "Outside" };
    await log(page)
      .getByText(`Decided: result ${JSON.stringify({ content: sent })}`)
      .waitFor();
    await log(page).getByText("Sent: Book a table").waitFor();
    expect(complaints).toEqual([]);
  });

  it("keeps what was typed while the panel is closed", async () => {
    const { page } = await asked(asking(form));
    const name = card(page, "Book a table").getByLabel("Name");
    await name.fill("Kari");
    await page.keyboard.press("Escape");
    await name.waitFor({ state: "hidden" });
    await page.locator("[part=launcher]").click();
    expect(await name.inputValue()).toBe("Kari");
    expect(await isInComposer(page)).toBe(true);
  });

  it("that is higher than the panel is read from its beginning", async () => {
    const { page } = await asked(asking(form), { browser: { viewport: { width: 390, height: 560 } } });
    const heading = card(page, "Book a table").getByRole("heading");
    const header = page.getByRole("dialog").locator("header");
    await waitFor(
      async () => {
        const [title, bar] = [await heading.boundingBox(), await header.boundingBox()];
        const gapPx = (title?.y ?? 0) - (bar?.y ?? 0) - (bar?.height ?? 0);
        return gapPx >= 0 && gapPx < 60;
      },
      { describe: "the form's title to stand below the header" },
    );
  });

  it("is not filled in", async () => {
    const { page } = await asked(asking(form));
    await card(page, "Book a table").getByRole("button", { name: "Not now" }).click();
    await log(page).getByText('Decided: error {"message":"dismissed"}').waitFor();
    await log(page).getByText("Not filled in: Book a table").waitFor();
  });
});

describe("after a reload", () => {
  /** The log as it reads, once everything has settled. */
  async function reloaded({ page }: Embedded, end: string): Promise<[before: string, after: string]> {
    await log(page).getByText(end).waitFor();
    const before = await log(page).innerText();
    await page.reload();
    await log(page).getByText(end).waitFor();
    let after = "";
    await waitFor(async () => (after = await log(page).innerText()) === before, {
      describe: () => `the same as before the reload:\n${before}\n\nnot:\n${after}`,
    });
    return [before, after];
  }

  it("what was decided reads as before, where it was, and is decided no more", async () => {
    const at = await asked(
      asking(approval(), approval({ tool: "shop_send_gift" }), connection, form, approval({ tool: "shop_pay" })),
    );
    const { page, engine, complaints } = at;
    const press = (name: string, button: string) => card(page, name).getByRole("button", { name: button }).click();
    await press("Cancel order", "Approve");
    await press("Send gift", "Decline");
    await press("Book a table", "Not now");
    const { runId, open } = waitingRun(at);
    engine.interrupts.connect(engine.interrupts.link(runId, open[0] ?? "") ?? "");
    await log(page).getByText("Connected: Gmail").waitFor();
    engine.interrupts.decide(runId, open[1] ?? "", { decision: "decline", payload: null, by: "expiry" });
    const [before] = await reloaded(at, "Decided: approve null");
    const lines = ["Approved: Cancel order", "Declined: Send gift", "Connected: Gmail", "Not filled in: Book a table"];
    expect(before).toMatch(new RegExp([...lines, "Not answered in time: Pay", "Ask Fake shop"].join("\\s+")));
    expect(await log(page).getByRole("button", { name: "Approve" }).count()).toBe(0);
    // In the middle of what goes on too.
    await input(page).fill("Please do it again");
    await page.keyboard.press("Enter");
    await card(page, "Send gift").waitFor();
    await press("Cancel order", "Decline");
    await log(page).getByText("Declined: Cancel order").waitFor();
    const middle = await log(page).innerText();
    await page.reload();
    await card(page, "Send gift").waitFor();
    await waitFor(async () => (await log(page).innerText()) === middle, { describe: "the same as before the reload" });
    expect(complaints).toEqual([]);
  });

  it("what was never decided is nothing", async () => {
    const at = await asked(asking(approval()));
    await card(at.page, "Cancel order").waitFor();
    await at.page.getByRole("button", { name: "Stop the answer" }).click();
    const [before] = await reloaded(at, "Stopped");
    expect(before).not.toContain("Cancel order");
  });

  it("what another conversation asked is not shown in the next", async () => {
    const { page } = await asked(asking(approval()));
    await card(page, "Cancel order").getByRole("button", { name: "Approve" }).click();
    await log(page).getByText("Decided: approve null").waitFor();
    await page.getByRole("button", { name: "New conversation" }).click();
    await input(page).fill("Please do it");
    await page.keyboard.press("Enter");
    await card(page, "Cancel order").getByRole("button", { name: "Decline" }).click();
    await log(page).getByText("Decided: decline null").waitFor();
    expect(await log(page).innerText()).not.toContain("Approved");
  });
});

describe.each([
  ["on a phone", { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true }],
  ["on a narrow one in the dark", { viewport: { width: 320, height: 640 }, colorScheme: "dark" as const }],
  ["in the corner of a large screen in the dark", { colorScheme: "dark" as const, reducedMotion: "reduce" as const }],
])("%s", (_name, browser) => {
  it("all cards can be read, named and touched, and nothing scrolls sideways", async () => {
    const { page } = await asked(asking(approval(), connection, form, approval({ by: "operator", tool: "shop_pay" })), {
      browser,
    });
    await card(page, "Pay").waitFor();
    await card(page, "Book a table").getByRole("button", { name: "Send" }).click();
    await card(page, "Book a table").getByText("Please fill this in.").first().waitFor();
    expect(await page.getByRole("dialog").evaluate(complaintsAbout)).toEqual([]);
  });
});

it("a page with a strict policy has them too", async () => {
  const { page, complaints } = await asked(asking(approval(), connection, form), { policy: STRICT_POLICY });
  await card(page, "Cancel order").getByRole("button", { name: "Approve" }).click();
  await card(page, "Book a table").getByRole("button", { name: "Not now" }).click();
  const opening = page.waitForEvent("popup");
  await card(page, "Connect Gmail").getByRole("button", { name: "Connect Gmail" }).click();
  await (await opening).getByRole("link", { name: "Allow" }).click();
  await log(page).getByText("Decided: approve").waitFor();
  expect(complaints).toEqual([]);
});
