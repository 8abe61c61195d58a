import { describe, expect, it } from "vitest";
import { jsonResult, MAX_RESULT_LENGTH } from "./json-result.ts";
import { runTool } from "./run-tool.ts";

const waiting = () => new AbortController().signal;

describe("what a handler answers", () => {
  it.each([
    [undefined, null],
    [
      { total: 3, at: new Date(0), left: undefined },
      { total: 3, at: "1970-01-01T00:00:00.000Z" },
    ],
    [
      [1, "a", true, null],
      [1, "a", true, null],
    ],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ])("%j is sent", (value, sent) => {
    expect(jsonResult(value)).toEqual(sent);
  });

  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  it.each([
    ["a function", () => 1],
    ["a Map inside", { items: new Map() }],
    ["NaN", { total: Number.NaN }],
    ["a bigint", { total: 1n }],
    ["a circle", circle],
    ["a symbol", Symbol("x")],
    ["a class's object", new URL("https://a.example").searchParams],
  ])("%s is refused", (_name, value) => {
    expect(() => jsonResult(value)).toThrow(/not JSON/);
  });

  it("is refused when it is longer than what the server takes", () => {
    expect(MAX_RESULT_LENGTH).toBe(32_000);
    expect(jsonResult("x".repeat(MAX_RESULT_LENGTH - 2))).toHaveLength(MAX_RESULT_LENGTH - 2);
    expect(() => jsonResult("x".repeat(MAX_RESULT_LENGTH))).toThrow(/too long/);
  });
});

describe("a call of the page's tool", () => {
  it("answers what the handler does, later or at once", async () => {
    const reply = await runTool(async ({ id }) => ({ id }), { id: 7 }, waiting());
    expect(reply).toEqual({ decision: "result", payload: { content: { id: 7 } } });
  });

  it.each([
    ["throws", () => Promise.reject(new Error("The cart is empty.")), "The cart is empty."],
    [
      "throws at once, and no error",
      () => {
        throw "no";
      },
      "no",
    ],
    ["answers what is not JSON", () => () => {}, /not JSON/],
    ["is gone", undefined, /no longer has/],
  ])("is an error when the handler %s", async (_name, handler, message) => {
    expect(await runTool(handler, {}, waiting())).toEqual({
      decision: "error",
      payload: { message: expect.stringMatching(message) },
    });
  });

  it("is an error when the handler takes too long, and tells it so", async () => {
    let heard: AbortSignal | undefined;
    const handler = (_given: unknown, { signal }: { signal: AbortSignal }) => {
      heard = signal;
      return new Promise(() => {});
    };
    expect(await runTool(handler, {}, waiting(), 5)).toMatchObject({ decision: "error" });
    expect(heard?.aborted).toBe(true);
  });
});
