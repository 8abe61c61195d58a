/**
 * Records golden logs, and holds today's engine to the stories that they tell.
 *
 * To add one, add a scenario and run this test: it writes the log of a scenario that has none, and fails once, so that
 * somebody looks it over and commits it. An engine that writes a story otherwise gets a scenario of a new name.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { foldFor, normalizedLog, readGoldenLogs, writeGoldenLog } from "@agent-engine/testing/golden-logs.ts";
import { storedEvents } from "@agent-engine/testing/invariants.ts";
import { scenarios } from "./golden-fixture.ts";
import { startProduct, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const known = new Map(readGoldenLogs().map((log) => [log.name, log]));

/** What readers see of a log, whatever its events were cut into. */
function storyOf(log: readonly StoredEnvelope[]) {
  const { messages, toolCalls, runs } = foldFor(log, "staff");
  return {
    messages: messages.map(({ role, text, status, citations }) => ({
      role,
      text,
      status,
      citations: citations.length,
    })),
    toolCalls: toolCalls.map(({ name, args, result, status }) => ({ name, args, result, status })),
    runs: Object.values(runs).map(({ status }) => status),
  };
}

test.each(scenarios)("$name: $about", async ({ name, about, play }) => {
  const chat = await product.chat();
  const conversationId = (await play(product, chat)) ?? chat.conversationId;
  const stored = await storedEvents(product.db, conversationId);
  // Every chat's questions begin with a tag of its own.
  const [tag = ""] = /"[0-9a-f]{8} /.exec(JSON.stringify(stored)) ?? [];
  const log = normalizedLog(stored, { [tag.slice(1)]: "" });
  const golden = known.get(name);
  if (!golden) {
    writeGoldenLog(name, about, log);
    throw new Error(`The golden log ${name} was recorded. Look it over, then commit it.`);
  }
  expect(golden.about).toBe(about);
  expect(storyOf(log)).toEqual(storyOf(golden.events));
});
