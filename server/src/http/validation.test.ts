import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { validate } from "./validation.ts";

function complaint(schema: z.ZodType, input: unknown): ProblemError {
  try {
    validate(schema, input, "body");
  } catch (error) {
    if (error instanceof ProblemError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

const schema = z.strictObject({
  name: z.string().min(1).max(5),
  count: z.int().min(1).max(9).optional(),
  kind: z.enum(["a", "b"]).optional(),
  site: z.url().optional(),
  inner: z.object({ list: z.array(z.object({ id: z.string() })).max(2) }).optional(),
});

describe("a schema's complaint", () => {
  test.each([
    [{}, "`name` is required (string)."],
    [{ name: 3 }, "`name` must be a string, not a number."],
    [{ name: [] }, "`name` must be a string, not an array."],
    [{ name: {} }, "`name` must be a string, not an object."],
    [{ name: "" }, "`name` must not be empty."],
    [{ name: "abcdef" }, "`name` must be at most 5 characters long."],
    [{ name: "a", count: 1.5 }, "`count` must be a whole number, not a number."],
    [{ name: "a", count: 0 }, "`count` must be at least 1."],
    [{ name: "a", count: 10 }, "`count` must be at most 9."],
    [{ name: "a", kind: "c" }, '`kind` must be one of "a", "b".'],
    [{ name: "a", site: "x" }, "`site` must be a valid url."],
    [{ name: "a", inner: { list: [{}] } }, "`inner.list[0].id` is required (string)."],
    [
      { name: "a", inner: { list: [{ id: "1" }, { id: "2" }, { id: "3" }] } },
      "`inner.list` must be at most 2 items long.",
    ],
    [{ name: "a", more: 1 }, "`more` is not a field of this request. Remove it."],
    ["text", "The body must be an object, not a string."],
    [null, "The body must be an object, not null."],
  ])("about %j says which field and what to do", (input, detail) => {
    expect(complaint(schema, input)).toMatchObject({ code: "invalid_request", detail });
  });

  test("lists every field, and shows the first three", () => {
    const error = complaint(z.object({ a: z.string(), b: z.string(), c: z.string(), d: z.string() }), {});
    expect(error.detail).toMatch(/`a`.*`b`.*`c`.*And 1 more/);
    expect(error.extra).toEqual({
      errors: ["a", "b", "c", "d"].map((field) => ({ field, message: `\`${field}\` is required (string).` })),
    });
  });

  test("never repeats the value", () => {
    const secret = "sk_secret";
    expect(JSON.stringify(complaint(z.object({ key: z.number() }), { key: secret }))).not.toContain(secret);
  });
});
