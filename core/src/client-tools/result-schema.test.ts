import { expect, test } from "vitest";
import { unsafePart } from "./result-schema.ts";

test.each<[string, unknown]>([
  ["a plain object", { type: "object", properties: { size: { type: "integer", minimum: 1 } }, required: ["size"] }],
  ["alternatives", { anyOf: [{ type: "string" }, { type: "array", items: { type: "number" } }] }],
  ["a pattern that takes no time", { type: "string", pattern: "^[a-z]{2}-[0-9]+$" }],
  ["some of them", { anyOf: Array.from({ length: 20 }, () => ({ pattern: "a?b" })) }],
  [
    "properties that are called like keywords",
    { properties: { $ref: { type: "string" }, pattern: { type: "string" } } },
  ],
  ["values that look like schemas", { enum: [{ $ref: "#" }], const: { pattern: "(a+)+$" }, default: { $ref: "#" } }],
  ["few that must be unique", { type: "array", uniqueItems: true, maxItems: 1_000 }],
  ["true", true],
])("takes %s", (_, schema) => {
  expect(unsafePart(schema)).toBeNull();
});

const SLOW = "^(a+)+$";
test.each<[string, unknown, RegExp]>([
  ["a pattern that takes for ever", { pattern: SLOW }, /pattern "\^\(a\+\)\+\$"/],
  ["one of a property", { properties: { a: { items: [{ not: { pattern: SLOW } }] } } }, /pattern/],
  ["one of properties' names", { patternProperties: { [SLOW]: {} } }, /pattern/],
  ["one that is none", { pattern: 5 }, /pattern/],
  [
    "one of what a property asks for",
    { dependencies: { default: { properties: { a: { pattern: SLOW } } } } },
    /pattern/,
  ],
  [
    "more of them than are tried in no time",
    { anyOf: Array.from({ length: 21 }, () => ({ pattern: "a?b" })) },
    /20 patterns/,
  ],
  ["a reference", { $defs: { node: {} }, anyOf: [{ $ref: "#/$defs/node" }] }, /\$ref/],
  ["any number that must be unique", { items: { type: "array", uniqueItems: true } }, /maxItems/],
  ["what is too long", { title: "x".repeat(4_000) }, /4000/],
  ["a dynamic one", { properties: { a: { $dynamicRef: "#a" } } }, /\$dynamicRef/],
])("refuses %s", (_, schema, words) => {
  expect(unsafePart(schema)).toMatch(words);
});
