import { expect, test } from "vitest";
import { SHOP } from "./shop.ts";

test("the shop has a dozen or more documents, each with its own address and title", () => {
  expect(SHOP.documents.length).toBeGreaterThanOrEqual(12);
  expect(new Set(SHOP.documents.map((document) => document.url)).size).toBe(SHOP.documents.length);
  expect(new Set(SHOP.documents.map((document) => document.title)).size).toBe(SHOP.documents.length);
});

test.each(SHOP.documents)("$title is 80 to 250 words long", ({ text }) => {
  const words = text.split(/\s+/).length;
  expect(words).toBeGreaterThanOrEqual(80);
  expect(words).toBeLessThanOrEqual(250);
});
