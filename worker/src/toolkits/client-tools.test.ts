import { describe, expect, test } from "vitest";
import type { OfferedTool } from "@agent-engine/core/client-tools/offered-tools.ts";
import type { ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import type { ToolInvocation } from "../engine/effects.ts";
import { bindClientTools, pageChoice } from "./client-tools.ts";

const NONE = new Set<string>();

const tool = (name: string, more: Partial<OfferedTool> = {}): OfferedTool => ({
  name,
  description: `Does ${name}`,
  parameters: { type: "object", properties: { sku: { type: "string" } }, required: ["sku"] },
  pageId: "page-1",
  ...more,
});
const choice = (more: Partial<ToolkitChoice>): ToolkitChoice => ({
  toolkit: "page",
  tools: {},
  defaultPolicy: "auto",
  settings: {},
  ...more,
});
const policiesOf = (offered: OfferedTool[], more: Partial<ToolkitChoice>) =>
  bindClientTools(offered, NONE, choice(more)).map(({ description, policy }) => [description.name, policy]);

describe("a page's tool", () => {
  test("is called by its page: what is asked names it, the tool as it was registered, and the arguments", () => {
    const resultSchema = { type: "object", properties: { items: { type: "integer" } } };
    const [bound] = bindClientTools([tool("add-it", { resultSchema })], NONE, choice({}));
    expect(bound).toMatchObject({
      description: { name: "page_add-it", effect: "write", connection: "none", visibility: { arguments: true } },
      toolkit: "page",
      host: null,
      policy: "auto",
    });
    expect(bound?.ask?.({ arguments: { sku: "hat" } } as unknown as ToolInvocation)).toEqual({
      message: expect.any(String),
      metadata: { kind: "client_tool", pageId: "page-1", tool: "add-it", arguments: { sku: "hat" } },
      responseSchema: resultSchema,
      expiresInMs: 60_000,
    });
    expect(bound?.checkArguments({ sku: "hat" })).toBeNull();
    expect(bound?.checkArguments({ sku: 1 })).toContain("sku");
  });

  test("is told of the first thing that is wrong: of a stranger's schema there may be millions", () => {
    const parameters = { type: "object", properties: { all: { type: "array", items: { type: "string" } } } };
    const [bound] = bindClientTools([tool("look", { parameters })], NONE, choice({}));
    expect(bound?.checkArguments({ all: [1, 2] })).toBe("all.0 must be string.");
  });

  test("asks for anything where it has no schema of results", () => {
    const [bound] = bindClientTools([tool("look")], NONE, choice({}));
    expect(bound?.ask?.({ arguments: {} } as unknown as ToolInvocation)).not.toHaveProperty("responseSchema");
  });

  test.each(["constructor", "toString", "hasOwnProperty"])(
    "is what the agent says, also where it is called %s",
    (name) => {
      expect(policiesOf([tool(name)], { defaultPolicy: "off" })).toEqual([]);
      expect(policiesOf([tool(name)], { defaultPolicy: "approve" })).toEqual([[`page_${name}`, "approve"]]);
    },
  );

  test("never replaces another tool of the agent, whatever that is called", () => {
    const taken = new Set(["page_search", "shop_search"]);
    const bound = bindClientTools([tool("search"), tool("find")], taken, choice({}));
    expect(bound.map(({ description }) => description.name)).toEqual(["page_find"]);
  });

  test("is left out when its parameters do not compile", () => {
    const bound = bindClientTools([tool("bad", { parameters: { type: "nonsense" } }), tool("good")], NONE, choice({}));
    expect(bound.map(({ description }) => description.name)).toEqual(["page_good"]);
  });

  test("is one of twenty at most, those that are switched off not counted", () => {
    const many = Array.from({ length: 25 }, (_, index) => tool(`t${index}`));
    expect(policiesOf(many, {})).toHaveLength(20);
    const names = policiesOf(many, { tools: { t0: "off", t1: "off" } }).map(([name]) => name);
    expect([names.length, names.at(0), names.at(-1)]).toEqual([20, "page_t2", "page_t21"]);
  });

  test("is never called here", async () => {
    const [bound] = bindClientTools([tool("look")], NONE, choice({}));
    const request = { idempotencyKey: "k", arguments: {}, connection: null, deadline: 0 };
    await expect(bound?.call({ ...request, signal: new AbortController().signal })).rejects.toThrow("browser");
    expect(bound?.classifyFailure(new Error("x"))).toMatchObject({ kind: "unknown_outcome" });
  });
});

describe("what an agent says of its pages' tools", () => {
  const offered = [tool("look"), tool("buy"), tool("page_up")];

  test("nothing: all are offered and called", () => {
    expect(pageChoice([choice({ toolkit: "builtin", defaultPolicy: "off" })])).toMatchObject({ defaultPolicy: "auto" });
    expect(policiesOf(offered, pageChoice([]))).toEqual([
      ["page_look", "auto"],
      ["page_buy", "auto"],
      ["page_page_up", "auto"],
    ]);
  });

  test("a policy for each, by its name with or without the namespace, and one for the others", () => {
    const said = choice({ tools: { look: "auto", page_buy: "approve" }, defaultPolicy: "off" });
    expect(pageChoice([choice({ toolkit: "builtin" }), said])).toBe(said);
    expect(policiesOf(offered, said)).toEqual([
      ["page_look", "auto"],
      ["page_buy", "approve"],
    ]);
  });

  test("who approves, and for how long", () => {
    const approvals = { by: "operator" as const, expiresInSeconds: 60 };
    const [bound] = bindClientTools([tool("buy")], NONE, choice({ defaultPolicy: "approve", approvals }));
    expect(bound).toMatchObject({ policy: "approve", approval: approvals });
  });
});
