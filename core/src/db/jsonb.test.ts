import { expect, test } from "vitest";
import { jsonbOf } from "./jsonb.ts";

test("what Postgres can hold is kept as it is", () => {
  const value = { a: ["é😀", 1, null, true], "\\u0000": "\\ud800" };
  expect(JSON.parse(jsonbOf(value))).toEqual(value);
});

test("what Postgres refuses is replaced, at any depth and in keys", () => {
  const value = { a: [{ "k\u0000": "\ud83d!" }], b: "x\u0000y", ok: "😀" };
  expect(JSON.parse(jsonbOf(value))).toEqual({ a: [{ "k\uFFFD": "\uFFFD!" }], b: "x\uFFFDy", ok: "😀" });
});
