import { describe, expect, it } from "vitest";
import { retryAfterMs } from "./failure.ts";
import { operationEffect, parseHttpSettings } from "./http/http-settings.ts";
import { TOOL_NAME, toolName } from "./tool-name.ts";

describe("the name a model calls a tool by", () => {
  it.each([
    ["shop", "find_order", "shop_find_order"],
    ["my shop!", "find.order", "my_shop__find_order"],
    ["1st", "x", "t1st_x"],
    ["größe", "ü", "gr_e__"],
  ])("of %s and %s", (namespace, tool, expected) => {
    expect(toolName(namespace, tool)).toBe(expected);
    expect(toolName(namespace, tool)).toMatch(TOOL_NAME);
  });

  it("stays distinct when it is cut", () => {
    const [a, b] = ["a", "b"].map((end) => toolName("shop", `${"long_".repeat(20)}${end}`));
    expect(a).toMatch(TOOL_NAME);
    expect(a).toHaveLength(64);
    expect(a).not.toBe(b);
  });
});

describe("settings of an HTTP toolkit", () => {
  const operation = {
    name: "find",
    description: "Finds",
    method: "GET",
    path: "/o/{id}",
    parameters: { type: "object", properties: { id: {} } },
  };
  const valid = { name: "shop", baseUrl: "https://shop.example/api", operations: [operation] };

  it("get their defaults", () => {
    expect(parseHttpSettings(valid).settings).toMatchObject({
      idempotencyHeader: "Idempotency-Key",
      timeoutMs: 30_000,
      operations: [{ showArguments: false }],
    });
  });

  it.each<[object, string]>([
    [{ baseUrl: "javascript:alert(1)" }, "baseUrl: must be an http or https URL"],
    [{ headers: { "bad header": "x" } }, "headers.bad header: must be a header's name"],
    [{ headers: { a: "x\r\ny: z" } }, "headers.a: must be one line of plain text"],
    [{ operations: [operation, operation] }, 'operations.1.name: "find" is there twice'],
    [{ operations: [{ ...operation, path: "o" }] }, "operations.0.path: must begin with /"],
    [
      { operations: [{ ...operation, path: "/{x}" }] },
      "operations.0.path: uses {x}, which is not among the parameters",
    ],
    [
      { operations: [{ ...operation, parameters: { type: "array" } }] },
      "operations.0.parameters: must be a JSON Schema with type: object",
    ],
    [{ extra: 1 }, 'settings: Unrecognized key: "extra"'],
  ])("say what is wrong, and where: %o", (changes, problem) => {
    expect(parseHttpSettings({ ...valid, ...changes }).problems).toContain(problem);
  });

  it("take the effect from the method unless they name one", () => {
    expect(operationEffect({ method: "POST" })).toBe("write");
    expect(operationEffect({ method: "POST", effect: "read" })).toBe("read");
  });
});

describe("Retry-After", () => {
  const now = Date.UTC(2026, 0, 1);
  it.each<[Record<string, string>, number | null]>([
    [{ "retry-after": "2" }, 2_000],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": new Date(now + 9_000).toUTCString() }, 9_000],
    [{ "retry-after": new Date(now - 9_000).toUTCString() }, 0],
    [{ "retry-after": "-5" }, null],
    [{ "retry-after": "9".repeat(20) }, 31_536_000_000],
    [{ "retry-after": "9".repeat(400) }, 31_536_000_000],
    [{ "retry-after-ms": "1e300" }, 31_536_000_000],
    [{ "retry-after": "Fri, 31 Dec 9999 23:59:59 GMT" }, 31_536_000_000],
    [{ "retry-after": "" }, null],
    [{}, null],
  ])("%o", (headers, expected) => expect(retryAfterMs(headers, now)).toBe(expected));
});
