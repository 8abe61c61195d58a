import { describe, expect, test } from "vitest";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { assertAnswers } from "./browser-answer.ts";

const asked = (more: Partial<Interrupt> = {}): Interrupt => ({ id: "int_1", reason: "client_tool", ...more });
const SIZE = { type: "object", properties: { size: { type: "integer", minimum: 1 } }, required: ["size"] };
/** As JSON so long. */
const text = (length: number) => "x".repeat(length - 2);

describe("what a browser answers", () => {
  test.each([null, false, 0, "", [], {}, { anything: [1] }])("may be %j where nothing was said of it", (content) => {
    expect(() => assertAnswers(asked(), "result", { content })).not.toThrow();
  });

  test.each([undefined, null, "43", 43, [], {}, { message: "43" }, { content: undefined }])(
    "is missing in %j",
    (payload) => {
      expect(() => assertAnswers(asked(), "result", payload)).toThrow(
        expect.objectContaining({ code: "invalid_request", detail: expect.stringContaining("payload.content") }),
      );
    },
  );

  test("is 32,000 characters long at most", () => {
    expect(() => assertAnswers(asked(), "result", { content: text(32_000) })).not.toThrow();
    expect(() => assertAnswers(asked(), "result", { content: text(32_001) })).toThrow(
      expect.objectContaining({ code: "too_large" }),
    );
  });

  test("fits the schema, or the page reads what is wrong", () => {
    const question = asked({ responseSchema: SIZE });
    expect(() => assertAnswers(question, "result", { content: { size: 1, more: true } })).not.toThrow();
    for (const [content, words] of [
      [{ size: 0 }, /size must be >= 1/],
      [{ size: 1.5 }, /size must be integer/],
      [{}, /it must have required property 'size'/],
      [null, /it must be object/],
      [[{ size: 1 }], /it must be object/],
    ] as const) {
      expect(() => assertAnswers(question, "result", { content })).toThrow(
        expect.objectContaining({ code: "invalid_request", detail: expect.stringMatching(words) }),
      );
    }
  });

  test("is too long before it is held against a schema", () => {
    const question = asked({ responseSchema: { type: "integer" } });
    expect(() => assertAnswers(question, "result", { content: text(32_001) })).toThrow(
      expect.objectContaining({ code: "too_large" }),
    );
  });
});

test.each<[Interrupt["reason"], "error" | "approve" | "decline" | "done" | "result"]>([
  ["client_tool", "error"],
  ["approval", "approve"],
  ["approval", "decline"],
  ["connection", "decline"],
  ["operator", "done"],
  ["approval", "result"],
])("of %s, %s is no answer of a browser, whatever it carries", (reason, decision) => {
  expect(() => assertAnswers(asked({ reason, responseSchema: SIZE }), decision, undefined)).not.toThrow();
});
