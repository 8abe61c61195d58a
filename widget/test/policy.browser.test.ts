import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { streaming } from "./answers.ts";
import { embed, openWorld, STRICT_POLICY, type Embedded, type World } from "./harness.ts";

let world: World;
let embedded: Embedded | undefined;

beforeAll(async () => {
  world = await openWorld();
});
afterEach(() => embedded?.close());
afterAll(() => world.close());

const HOSTILE = [
  "<img src=https://evil.example/a.png onerror='window.ran = true'>",
  "![pixel](https://evil.example/leak.png) [x](javascript:window.ran=true)",
  "<script>window.ran = true</script>",
  "```\n<svg/onload=window.ran=true>\n```",
  "It ends.",
].join("\n\n");

describe.each([
  ["only the API's origin and Trusted Types", STRICT_POLICY, ""],
  [
    "only a nonce, strict-dynamic and Trusted Types",
    STRICT_POLICY.replace("script-src {api}", "script-src 'nonce-r4nd0m' 'strict-dynamic'"),
    "nonce='r4nd0m'",
  ],
  [
    "only a nonce, without strict-dynamic",
    STRICT_POLICY.replace("script-src {api}", "script-src 'nonce-r4nd0m'"),
    "nonce='r4nd0m'",
  ],
])("a page whose policy allows %s", (_name, policy, attributes) => {
  it("has the whole widget, and nothing is blocked, asked or run", async () => {
    embedded = await embed(world, {
      policy,
      play: streaming(HOSTILE),
      body: `<script src="{api}/widget.js" data-key="pk_fake" async ${attributes}></script>`,
    });
    const { page, engine, complaints, asked } = embedded;
    await page.locator("[part=launcher]").click();
    await page.getByRole("textbox").fill("Attack me");
    await page.keyboard.press("Enter");
    await page.getByRole("log").getByText("It ends.").waitFor();
    await page.getByRole("button", { name: "New conversation" }).waitFor();
    expect(await page.evaluate(() => window.AgentWidget?.doctor())).toMatchObject({ ok: true });
    expect(await page.evaluate(() => (window as { ran?: boolean }).ran)).toBeUndefined();
    expect(complaints).toEqual([]);
    expect([...asked].filter((origin) => origin !== engine.url && !origin.startsWith("http://localhost"))).toEqual([]);
  });
});
