import { expect, test } from "vitest";
import { checkClientTools } from "./check-client-tools.ts";
import type { ClientTool } from "./client-tool.ts";

const tool = (name: string, more: Partial<ClientTool> = {}): ClientTool => ({
  name,
  description: `Does ${name}`,
  parameters: { type: "object" },
  ...more,
});

test.each<[string, ClientTool, RegExp]>([
  ["a name that models cannot call", tool("2 hats"), /its name must be/],
  ["one without a name", tool(""), /its name/],
  ["one whose name is too long", tool("a".repeat(59)), /58/],
  ["one without a description", tool("a", { description: " \n" }), /empty/],
  ["one with too much of it", tool("a", { description: "x".repeat(1_001) }), /1000 characters/],
  ["parameters that no model accepts", tool("a", { parameters: { type: "string" } }), /parameters: /],
  ["parameters without any value", tool("a", { parameters: { type: "object", allOf: [false] } }), /parameters: /],
  [
    "a schema of results that does not compile",
    tool("a", { resultSchema: { type: "nonsense" } }),
    /resultSchema: .*type/,
  ],
  ["one that refers to itself", tool("a", { resultSchema: { anyOf: [{ $ref: "#" }] } }), /resultSchema: .*\$ref/],
  ["one that takes for ever", tool("a", { resultSchema: { pattern: "^(a|a)*$" } }), /resultSchema: the pattern/],
])("%s is left out with its reason, and the others stay", (_, bad, words) => {
  const { tools, problems } = checkClientTools([tool("first"), bad, tool("last")]);
  expect(tools.map(({ name }) => name)).toEqual(["first", "last"]);
  expect(problems).toEqual([{ tool: bad.name, problem: expect.stringMatching(words) }]);
  expect(problems[0]?.problem).not.toContain("The parameters are not a usable");
});

test("of two that have one name the first is offered", () => {
  const { tools, problems } = checkClientTools([tool("a", { description: "1" }), tool("a", { description: "2" })]);
  expect(tools).toMatchObject([{ name: "a", description: "1" }]);
  expect(problems).toEqual([{ tool: "a", problem: "another tool of the page has this name" }]);
});

test("a bad one does not take the name from a good one", () => {
  const { tools } = checkClientTools([tool("a", { description: "" }), tool("a")]);
  expect(tools).toMatchObject([{ name: "a", description: "Does a" }]);
});

test("twenty good ones, and no more", () => {
  const bad = Array.from({ length: 5 }, (_, index) => tool(`${index}`));
  const { tools, problems } = checkClientTools([
    ...bad,
    ...Array.from({ length: 22 }, (_, index) => tool(`t${index}`)),
  ]);
  expect([tools.length, tools.at(-1)?.name]).toEqual([20, "t19"]);
  expect(problems.map(({ tool }) => tool)).toEqual(["0", "1", "2", "3", "4", "t20", "t21"]);
});

test("what makes it too much in all is left out, and what comes after it is not", () => {
  const large = (name: string) => tool(name, { resultSchema: { type: "object", title: "x".repeat(3_800) } });
  const names = Array.from({ length: 17 }, (_, index) => `t${index}`);
  const { tools, problems } = checkClientTools([...names.map(large), tool("e")]);
  expect(tools.map(({ name }) => name)).toEqual([...names.slice(0, 16), "e"]);
  expect(problems).toEqual([{ tool: "t16", problem: expect.stringContaining("64000 characters") }]);
});

test("bad ones are looked through no further than twice as much", () => {
  const bad = (name: string) =>
    tool(name, { description: "x".repeat(900), resultSchema: { type: "nonsense", title: "x".repeat(3_000) } });
  const { tools, problems } = checkClientTools([
    ...Array.from({ length: 40 }, (_, index) => bad(`t${index}`)),
    tool("last"),
  ]);
  expect(tools.map(({ name }) => name)).toEqual(["last"]);
  expect(problems[0]?.problem).toMatch(/^resultSchema/);
  expect(problems.at(-1)?.problem).toContain("64000 characters");
});

test("parameters are made such that every provider takes them", () => {
  const { tools } = checkClientTools([tool("a", { parameters: {} })]);
  expect(tools[0]?.parameters).toEqual({ type: "object", properties: {} });
});
