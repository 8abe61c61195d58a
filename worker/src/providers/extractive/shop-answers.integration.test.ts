/** What a visitor of the demo shop asks, in a visitor's words, and what the documents say: search and quotation together. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { SHOP } from "@agent-engine/core/demo/shop.ts";
import { createDocument } from "@agent-engine/core/knowledge/create-document.ts";
import { searchKnowledge } from "@agent-engine/core/knowledge/search-knowledge.ts";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { resultText } from "../../engine/tool-outcome.ts";
import { answerFrom } from "./answer.ts";
import { questionOf } from "./question.ts";

let spine: Spine;
let shop: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  shop = await openTenant(spine);
  for (const document of SHOP.documents) await createDocument(shop.ctx, document);
});
afterAll(() => spine.close());

async function answerTo(text: string): Promise<string> {
  const question = questionOf([{ role: "user", content: [{ type: "text", text }] }]);
  const sources = await searchKnowledge(shop.ctx, { query: question.query, limit: 5 });
  return answerFrom(question, resultText({ content: null, sources }, 1), { name: SHOP.agentName, suggestions: [] });
}

test.each([
  ["How long does delivery take?", "1 to 3 working days"],
  ["what does shipping cost to sweden?", "129 kr"],
  ["how much is express delivery?", "149 kr"],
  ["Can I return something I have worn?", "unworn"],
  ["how do i send something back", "within 30 days"],
  ["When will I get my money back?", "refund"],
  ["what time does the store close", "10:00 to 18:00"],
  ["My zipper is broken, can you fix it?", "a new zip 350 to 550 kr"],
  ["what does it cost to mend a jumper", "A small tear costs 150 kr"],
  ["What size should I buy?", "Measure your chest"],
  ["can I talk to a human", "+47 55 00 48 48"],
  ["Is there a guarantee on boots?", "covered for two years"],
  ["do you take paypal", "PayPal"],
  ["where is my parcel", "tracking number"],
])("%s", async (question, words) => {
  const answer = await answerTo(question);
  expect(answer).toMatch(/^Here is what I found/);
  expect(answer).toContain(words);
});

test.each(["Which tent is best for winter?", "what's the weather tomorrow", "hvor lang tid tar leveringen?"])(
  "%s: the documents do not say, and neither does the agent",
  async (question) => expect(await answerTo(question)).toMatch(/could not find anything about that/),
);
