/** What the customer's page can do for the model: `registerTool`. */
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { FakeRun } from "@agent-engine/testing/fake-engine.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { streaming } from "./answers.ts";
import { embed, openWorld, STRICT_POLICY, type Embedded, type PageOptions, type World } from "./harness.ts";
import { asking, pageCall } from "./questions.ts";

declare global {
  interface Window {
    /** What the page's tool was called with. */
    calls: unknown[];
    unregister(): void;
  }
}

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
  await embedded.page.waitForFunction(() => window.AgentWidget);
  return embedded;
}

const log = (page: Page) => page.getByRole("log");
const ask = (page: Page) => page.evaluate(() => window.AgentWidget?.send("Please do it"));

/** Registers a tool that writes down what it is called with, and answers or throws as `script` says. */
const register = (page: Page, script: "answer" | "throw" | "function" | "huge" = "answer") =>
  page.evaluate((script) => {
    window.calls ??= [];
    const schema = { description: "Puts something into the cart.", parameters: { type: "object" } };
    const unregister = window.AgentWidget?.registerTool("add_to_cart", schema, async (given) => {
      window.calls.push(given);
      if (script === "throw") throw new Error("Sold out.");
      if (script === "function") return () => {};
      return script === "huge" ? "x".repeat(60_000) : { items: window.calls.length };
    });
    Object.assign(window, { unregister });
  }, script);

/** Asks whichever page offered the tool last. */
const calling =
  (given: Record<string, unknown> = { sku: "lamp" }) =>
  (run: FakeRun) =>
    asking(pageCall("add_to_cart", given, () => [...(embedded?.engine.interrupts.offered.keys() ?? [])].at(-1) ?? ""))(
      run,
    );

const offered = () => [...(embedded?.engine.interrupts.offered.values() ?? [])];

it("is offered before the first message, called once, and its answer goes to the model", async () => {
  let atStart: unknown;
  const { page, engine, complaints } = await shop({
    policy: STRICT_POLICY,
    play: (run) => {
      atStart = offered().map(({ tools }) => tools);
      return calling()(run);
    },
  });
  await register(page);
  await ask(page);
  await log(page).getByText('Decided: result {"content":{"items":1}}').waitFor();
  expect(atStart).toEqual([
    [{ name: "add_to_cart", description: "Puts something into the cart.", parameters: { type: "object" } }],
  ]);
  expect(await page.evaluate(() => window.calls)).toEqual([{ sku: "lamp" }]);
  // The log is read again from its beginning, as after a lost connection.
  engine.cutSockets();
  await ask(page);
  await log(page).getByText('Decided: result {"content":{"items":2}}').waitFor();
  expect(await page.evaluate(() => window.calls.length)).toBe(2);
  expect(complaints).toEqual([]);
});

it.each([
  ["throw", /Decided: error .*Sold out\./],
  ["function", /Decided: error .*not JSON/],
  ["huge", /Decided: error .*too long/],
] as const)("that does %s is an error for the model to read", async (script, words) => {
  const { page } = await shop({ play: calling() });
  await register(page, script);
  await ask(page);
  await log(page).getByText(words).waitFor();
});

it("whose answer does not fit its own schema is an error too", async () => {
  const { page, engine } = await shop({ play: calling() });
  await register(page);
  engine.faults.push({ path: /resume$/, answer: "invalid_request" });
  await ask(page);
  await log(page)
    .getByText(/Decided: error/)
    .waitFor();
});

it("that cannot be offered takes nothing from the others, and the console says once which and why", async () => {
  const { page, engine, complaints } = await shop({ play: streaming("Yes.") });
  engine.interrupts.refused.set("look", "parameters: No.");
  await page.evaluate(() => {
    const schema = { description: "Looks.", parameters: { type: "object" } };
    window.AgentWidget?.registerTool("look", schema, () => {});
    const circle: Record<string, unknown> = { type: "object" };
    circle["default"] = circle;
    for (const parameters of [null as never, circle]) {
      window.AgentWidget?.registerTool(parameters ? "circle" : "none", { ...schema, parameters }, () => {});
    }
  });
  await register(page);
  for (let times = 0; times < 2; times++) {
    await ask(page);
    await log(page).getByText("Yes.").nth(times).waitFor();
    // Both are said anew to the server.
    await page.evaluate(() => window.AgentWidget?.close());
    await page.evaluate(() => window.AgentWidget?.open());
  }
  await waitFor(() => offered().length === 1, { describe: "the tool to be offered again" });
  expect(offered().map(({ tools }) => tools.map(({ name }) => name))).toEqual([["add_to_cart"]]);
  expect(complaints).toEqual([
    "[agent-widget] registerTool: “none” is not offered: it needs a description, and parameters that are a JSON Schema",
    "[agent-widget] registerTool: “circle” is not offered: it needs a description, and parameters that are a JSON Schema",
    "[agent-widget] registerTool: “look” is not offered: parameters: No.",
  ]);
});

it("is called by the page that is addressed and by no other, also not after its reload", async () => {
  const { page, engine } = await shop({ play: calling() });
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.waitForFunction(() => window.AgentWidget);
  await register(page);
  await page.evaluate(() => window.AgentWidget?.open());
  await ask(page);
  await log(page).getByText('Decided: result {"content":{"items":1}}').waitFor();
  // The same conversation in another tab, whose tool of that name is the newer one.
  await register(other);
  await other.evaluate(() => window.AgentWidget?.open());
  await waitFor(() => offered().length === 2, { describe: "both pages to offer it" });
  await ask(page);
  await log(page)
    .getByText(/Decided: result/)
    .nth(1)
    .waitFor();
  expect(await page.evaluate(() => window.calls.length)).toBe(1);
  expect(await other.evaluate(() => window.calls.length)).toBe(1);

  // A call to the page that was there before the reload is nobody's.
  const gone = [...engine.interrupts.offered.keys()].at(-1) ?? "";
  engine.play = asking(pageCall("add_to_cart", {}, () => gone));
  await other.reload();
  await other.waitForFunction(() => window.AgentWidget);
  await register(other);
  await ask(other);
  await log(other).getByText("Working on it…").waitFor();
  await waitFor(() => !engine.interrupts.offered.has(gone), { describe: "the page to have said goodbye" });
  expect(await other.evaluate(() => window.calls)).toEqual([]);
});

it("is not called for what was decided before this page read of it", async () => {
  const { page, engine } = await shop({
    play: async (run) => {
      // The page's connection is slow: its question and what became of it arrive one after the other.
      engineOf().mangle = (envelopes) => {
        const asked = envelopes.some(
          ({ event }) => event.type === "RUN_FINISHED" && event.outcome.type === "interrupt",
        );
        if (asked) {
          const runId = envelopes[0]?.runId ?? "";
          const [open] = engineOf().interrupts.openOf(runId);
          queueMicrotask(() =>
            engineOf().interrupts.decide(runId, open?.id ?? "", { decision: "error", payload: null, by: "operator" }),
          );
        }
        return [envelopes];
      };
      await calling()(run);
    },
  });
  const engineOf = () => engine;
  await register(page);
  await ask(page);
  await log(page).getByText("Decided: error null").waitFor();
  expect(await page.evaluate(() => window.calls)).toEqual([]);
});

it("is taken away by the page, by closing the chat, and by leaving", async () => {
  const { page } = await shop({ play: streaming("Yes.") });
  await register(page);
  await ask(page);
  await log(page).getByText("Yes.").waitFor();
  const isOffered = (count: number) => waitFor(() => offered().length === count, { describe: `${count} offers` });
  await isOffered(1);
  await page.evaluate(() => window.unregister());
  await isOffered(0);
  await register(page);
  await isOffered(1);
  await page.evaluate(() => window.AgentWidget?.close());
  await isOffered(0);
  await page.evaluate(() => window.AgentWidget?.open());
  await isOffered(1);
  await page.evaluate(() => window.AgentWidget?.destroy());
  await isOffered(0);
});

it("is not taken away from a conversation that a signed-out visitor may no longer see", async () => {
  const { page, engine, complaints } = await shop({ play: streaming("Done.") });
  await register(page);
  await ask(page);
  await log(page).getByText("Done.").waitFor();
  const puts = () =>
    [...engine.requests].reduce((sum, [route, times]) => sum + (/^PUT .*client-tools$/.test(route) ? times : 0), 0);
  await waitFor(() => puts() > 0, { describe: "the offer" });
  const before = puts();
  await page.evaluate(() => window.AgentWidget?.reset());
  await log(page).getByText("Done.").waitFor({ state: "detached" });
  await ask(page);
  await log(page).getByText("Done.").waitFor();
  // One for the new conversation, and none for the old one.
  expect(puts() - before).toBe(1);
  expect(complaints).toEqual([]);
});

it("refuses a name that models could not call, and costs nothing while the chat is closed", async () => {
  const { page, engine } = await shop();
  const refused = await page.evaluate(() => {
    try {
      window.AgentWidget?.registerTool("2 lamps", { description: "", parameters: {} }, () => {});
      return "";
    } catch (error) {
      return String(error);
    }
  });
  expect(refused).toMatch(/^TypeError: registerTool: 2 lamps must match/);
  await register(page);
  expect(engine.requests.size).toBe(0);
});
