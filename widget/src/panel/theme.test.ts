import { expect, it } from "vitest";
import { readableOn } from "./theme.ts";

it.each([
  ["#fff", "#000"],
  ["#000000", "#fff"],
  ["#1f4d3f", "#fff"],
  ["#ffd400", "#000"],
  ["#3350d2", "#fff"],
  ["tomato", null],
  ["#12345", null],
])("text on %s is %s", (accent, text) => {
  expect(readableOn(accent)).toBe(text);
});
