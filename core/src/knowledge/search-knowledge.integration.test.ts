import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { createDocument } from "./create-document.ts";
import { getDocument } from "./get-document.ts";
import { listDocuments } from "./list-documents.ts";
import { searchKnowledge } from "./search-knowledge.ts";

let spine: Spine;
let shop: TestTenant;
let other: TestTenant;

const DOCUMENTS: [title: string, text: string][] = [
  [
    "Shipping",
    "Standard delivery takes three to five working days and costs 4.90 euros.\n\nExpress delivery arrives the next day.",
  ],
  [
    "Returns",
    "You can return shoes within thirty days. The refund is paid within a week.\n\nWorn shoes cannot be returned.",
  ],
  ["Opening hours", "Our store in Berlin opens at nine and closes at eight. On Sundays the store is closed."],
  ["Care", "Clean leather shoes with a damp cloth. Let wet shoes dry slowly, away from heaters."],
];

beforeAll(async () => {
  spine = await openSpine();
  [shop, other] = await Promise.all([openTenant(spine), openTenant(spine)]);
  for (const [title, text] of DOCUMENTS) {
    await createDocument(shop.ctx, { title, url: `https://shop.example/${title.toLowerCase()}`, text });
  }
  await createDocument(other.ctx, {
    title: "Delivery",
    url: null,
    text: "Our delivery of secret goods takes an hour.",
  });
});
afterAll(() => spine.close());

const search = (query: string, limit = 5) => searchKnowledge(shop.ctx, { query, limit });

describe("a question", () => {
  test.each([
    ["How long does the delivery take?", "Shipping", "three to five working days"],
    ["Can I return my shoes?", "Returns", "within thirty days"],
    ["when are you closed on sunday", "Opening hours", "closed"],
    ["cleaning LEATHER", "Care", "damp cloth"],
    ["is the shop closed on sunday", "Opening hours", "store is closed"],
    ["when is the reimbursement paid", "Returns", "refund is paid"],
  ])("%s finds %s first", async (query, title, words) => {
    const [best] = await search(query);
    expect(best).toMatchObject({ title, url: `https://shop.example/${title.toLowerCase()}` });
    expect(best?.quote).toContain(words);
  });

  test("is answered by whole passages, best first, scored between 0 and 1, as many as asked for", async () => {
    const hits = await search("shoes delivery store", 3);
    expect(hits).toHaveLength(3);
    for (const { score, quote } of hits) {
      expect(score).toBeGreaterThan(0);
      expect(score).toBeLessThanOrEqual(1);
      expect(DOCUMENTS.flatMap(([, text]) => text.split("\n\n"))).toContain(quote);
    }
    expect(hits.map(({ score }) => score)).toEqual(hits.map(({ score }) => score).toSorted((a, b) => b - a));
    expect(await search("shoes delivery store", 1)).toEqual(hits.slice(0, 1));
  });

  test("scores 1 when a passage covers all of it, and less with every word that occurs nowhere", async () => {
    const score = async (query: string) => (await search(query))[0]?.score ?? 0;
    const whole = await score("express delivery");
    const one = await score("express delivery zeppelin");
    const two = await score("express delivery zeppelin submarine");
    expect(whole).toBe(1);
    expect(one).toBeLessThan(whole);
    expect(two).toBeLessThan(one);
    expect(two).toBeGreaterThan(0);
  });

  test("a rare word counts more than a common one", async () => {
    const hits = await search("heaters shoes");
    const scoreOf = (words: string) => hits.find(({ quote }) => quote.includes(words))?.score ?? 0;
    expect(scoreOf("heaters")).toBe(1);
    expect(scoreOf("Worn shoes")).toBeLessThan(0.5);
  });

  test("finds by the title too", async () => {
    expect((await search("opening hours"))[0]).toMatchObject({ title: "Opening hours" });
  });

  test.each(["", "   ", "the of and", "?!…", "zeppelin", "👋"])("%j finds nothing", async (query) => {
    expect(await search(query)).toEqual([]);
  });
});

describe("another tenant's documents", () => {
  test("are never found, and do not change what is found", async () => {
    const before = await search("delivery takes");
    await createDocument(other.ctx, { title: "More delivery", url: null, text: "Delivery, delivery, takes delivery." });
    expect(await search("delivery takes")).toEqual(before);
    expect(await search("secret goods")).toEqual([]);
    expect((await searchKnowledge(other.ctx, { query: "secret goods", limit: 5 }))[0]).toMatchObject({
      title: "Delivery",
    });
  });

  test("are neither listed nor read", async () => {
    const [theirs] = (await listDocuments(other.ctx, { limit: 10, cursor: null })).items;
    await expect(getDocument(shop.ctx, theirs?.id ?? "")).rejects.toMatchObject({ code: "not_found" });
    const ours = await listDocuments(shop.ctx, { limit: 3, cursor: null });
    expect(ours.items.map(({ title }) => title)).toEqual(["Care", "Opening hours", "Returns"]);
    const rest = await listDocuments(shop.ctx, { limit: 3, cursor: ours.nextCursor });
    expect(rest).toMatchObject({ items: [{ title: "Shipping" }], nextCursor: null });
  });
});

describe("hostile questions are only words", () => {
  test.each([
    "'",
    "\\",
    "'; drop table chunks; --",
    "delivery' | 'secret",
    "delivery & !shipping <-> (secret:*",
    "\\'delivery\\'",
    "https://shop.example/it's/a\\path?x='y'&z=\\",
    "C:\\Users\\it's\\delivery",
    "a'b\\c@shop.example",
    "delivery\u0000\ud800",
    "$1 %s ${x} {{x}}",
    "delivery ".repeat(5_000),
    "x".repeat(5_000),
    Array.from({ length: 200 }, (_, n) => `word${n}`).join(" "),
  ])("%j", async (query) => {
    for (const { title } of await search(query)) expect(DOCUMENTS.map(([own]) => own)).toContain(title);
  });

  test("whatever they are made of", async () => {
    const hostile = fc.string({
      unit: fc.constantFrom(...Array.from("ab/.:@'\"\\|&!()<>*%$-_ 1\u00e9\u0000\ud800")),
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(hostile, async (query) => {
        await search(`${query} delivery`);
        const [hit] = await search(`delivery ${query}`, 1);
        expect(hit === undefined || hit.title !== "Delivery").toBe(true);
      }),
      { numRuns: 150 },
    );
  });
});

test("a document with nothing in it is kept and never found; one of many passages is found by each of them", async () => {
  const empty = await createDocument(other.ctx, { title: "Emptiness", url: null, text: " \n\n " });
  expect(await getDocument(other.ctx, empty.id)).toEqual(empty);
  expect(await searchKnowledge(other.ctx, { query: "emptiness", limit: 5 })).toEqual([]);
  const text = Array.from({ length: 60 }, (_, n) => `Paragraph about topic${n}.`).join("\n\n");
  await createDocument(other.ctx, { title: "Long", url: null, text });
  for (const n of [0, 31, 59]) {
    expect((await searchKnowledge(other.ctx, { query: `topic${n}`, limit: 1 }))[0]?.quote).toBe(
      `Paragraph about topic${n}.`,
    );
  }
});
