import { afterAll, describe, expect, it } from "vitest";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import { argumentCheck, BadSchema } from "@agent-engine/core/toolkits/argument-check.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { bindTools } from "./registry.ts";

const egress = createEgress({ allowLoopback: true });
afterAll(() => egress.close());
const context = {
  tenantId: "tenant_1",
  agentId: "agent_1",
  conversationId: "conv_1",
  runId: "run_1",
  visitorId: null,
  correlationId: "c",
};
const operation = (name: string, extra: object = {}) => ({
  name,
  description: "d",
  method: "GET",
  path: "/",
  ...extra,
});

async function bind(config: Record<string, unknown>) {
  const searched: unknown[] = [];
  const bound = await bindTools(agentConfig.parse({ knowledge: { enabled: false }, ...config }), context, {
    egress,
    builtin: {
      now: () => Date.parse("2026-11-22T23:40:00Z"),
      hasVisitor: true,
      handOver: async () => ({ handedOver: true as const }),
      planFollowUp: async ({ at }) => ({ at: new Date(at).toISOString() }),
    },
    searchKnowledge: async (input) => {
      searched.push(input);
      return [{ documentId: "doc_1", title: "T", url: null, quote: "Q", score: 1 }];
    },
  });
  return { ...bound, searched, names: bound.tools.map((tool) => tool.description.name) };
}
const http = (settings: object, extra: object = {}) => ({
  toolkits: [{ toolkit: "http", settings: { name: "shop", baseUrl: "https://shop.example", ...settings }, ...extra }],
});

describe("an agent's tools", () => {
  it("include the search over its documents when it has knowledge", async () => {
    const { tools, searched } = await bind({ knowledge: { enabled: true, maxResults: 3 } });
    expect(tools).toMatchObject([
      { policy: "auto", description: { name: "knowledge_search", effect: "read", givesSources: true } },
    ]);
    const answer = await tools[0]?.call({
      idempotencyKey: "k",
      arguments: { query: "hours" },
      connection: null,
      signal: new AbortController().signal,
      deadline: 0,
    });
    expect(searched).toEqual([{ query: "hours", limit: 3 }]);
    expect(answer?.sources).toEqual([{ documentId: "doc_1", title: "T", url: null, quote: "Q", score: 1 }]);
    expect(tools[0]?.checkArguments({ query: "" })).toMatch(/query must NOT have fewer than 1 characters/);
  });

  it("follow the policies, by either of a tool's names", async () => {
    const operations = ["a", "b", "c", "d"].map((name) => operation(name));
    const { tools } = await bind(
      http({ operations }, { tools: { a: "auto", shop_b: "approve", c: "off" }, defaultPolicy: "approve" }),
    );
    expect(tools.map((tool) => [tool.description.name, tool.policy])).toEqual([
      ["shop_a", "auto"],
      ["shop_b", "approve"],
      ["shop_d", "approve"],
    ]);
  });

  it("include the built-in ones that its policies name", async () => {
    const builtin = { toolkit: "builtin", tools: { current_time: "auto" }, defaultPolicy: "off" };
    const { tools, problems } = await bind({ toolkits: [{ ...builtin, settings: { timeZone: "Europe/Berlin" } }] });
    expect(problems).toEqual([]);
    expect(tools.map((tool) => tool.description.name)).toEqual(["builtin_current_time"]);
    const signal = new AbortController().signal;
    const request = { idempotencyKey: "k", arguments: {}, signal, deadline: 0, connection: null };
    const answer = await tools[0]?.call(request);
    expect(answer?.content).toEqual({
      time: "2026-11-23T00:40:00+01:00",
      weekday: "Monday",
      timeZone: "Europe/Berlin",
    });
    expect((await bind({ toolkits: [builtin].map((one) => ({ ...one, tools: {} })) })).tools).toEqual([]);
  });

  it("go by the default where they are called like what every object has", async () => {
    const shop = http({ operations: [operation("constructor")] }, { tools: {}, defaultPolicy: "approve" });
    expect((await bind(shop)).tools).toMatchObject([{ policy: "approve" }]);
  });

  it("have schemas of ours that compile, which is looked at nowhere else", async () => {
    const { tools } = await bind({ toolkits: [{ toolkit: "builtin", tools: {}, defaultPolicy: "auto" }] });
    expect(tools.length).toBeGreaterThan(3);
    for (const { description } of tools) expect(() => argumentCheck(description.parameters)).not.toThrow();
  });

  it("say who approves them; what only a visitor may is the team's where there is none", async () => {
    const approvals = { by: "visitor", expiresInSeconds: 600 };
    const rules = http({ operations: [operation("a")] }, { defaultPolicy: "approve", approvals });
    expect((await bind(rules)).tools).toMatchObject([{ approval: { by: "operator", expiresInSeconds: 600 } }]);
    expect((await bind(http({ operations: [operation("a")] }))).tools[0]).not.toHaveProperty("approval");
  });

  it("are left out with a reason when they cannot be used; the others stay", async () => {
    const { names, problems } = await bind({
      toolkits: [
        { toolkit: "nothing" },
        { toolkit: "http", settings: { name: "bad name", baseUrl: "ftp://x", operations: [] } },
        {
          toolkit: "http",
          settings: {
            name: "shop",
            baseUrl: "https://shop.example",
            operations: [operation("good"), operation("broken", { parameters: { type: "object", required: "id" } })],
          },
        },
        ...http({ operations: [operation("good")] }).toolkits,
      ],
    });
    expect(names).toEqual(["shop_good"]);
    expect(problems).toEqual([
      "toolkit nothing: there is no toolkit of this name",
      "toolkit http: name: must be a letter, then letters, digits, _ or -",
      "toolkit http: baseUrl: must be an http or https URL",
      "toolkit http: operations: must have at least one operation",
      expect.stringContaining("tool shop_broken: The parameters are not a usable JSON Schema"),
      "tool shop_good: another tool has the same name",
    ]);
  });
});

describe("the check of arguments", () => {
  const check = argumentCheck({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "same",
    type: "object",
    properties: { size: { enum: ["s", "m"] }, count: { type: "integer" } },
    required: ["size"],
    additionalProperties: false,
  });

  it("says what is wrong in words a model can act on", () => {
    expect(check({ size: "m", count: 2 })).toBeNull();
    expect(check({})).toBe("the arguments must have required property 'size'.");
    expect(check({ size: "xl", count: "2", color: "red" })).toBe(
      'the arguments must NOT have additional properties ("color"); size must be equal to one of the allowed values: ["s","m"]; count must be integer.',
    );
  });

  it("keeps schemas with the same id apart, and refuses unusable ones", () => {
    expect(argumentCheck({ $id: "same", type: "object" })({})).toBeNull();
    expect(() => argumentCheck({ type: "nonsense" })).toThrow(BadSchema);
  });
});
