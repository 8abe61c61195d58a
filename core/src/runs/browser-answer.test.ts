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

  test.each<[string, Record<string, unknown>]>([
    ["where each item breaks many rules", { items: { allOf: Array.from({ length: 3_000 }, () => false) } }],
    ["where no alternative fits", { contains: { anyOf: Array.from({ length: 3_000 }, () => false) } }],
  ])("is refused rather than worked through %s", (_, responseSchema) => {
    expect(() => assertAnswers(asked({ responseSchema }), "result", { content: Array(15_000).fill(0) })).toThrow(
      expect.objectContaining({ code: "too_large", detail: expect.stringContaining("schema") }),
    );
  });

  test("that is too long a list is not compared with itself: the first that is wrong is said", () => {
    const responseSchema = { type: "array", maxItems: 10, uniqueItems: true };
    expect(() => assertAnswers(asked({ responseSchema }), "result", { content: Array(100).fill(0) })).toThrow(
      expect.objectContaining({ detail: expect.stringMatching(/it must NOT have more than 10 items\.$/) }),
    );
  });

  test("may be long where its schema is not, and the other way round", () => {
    const items = { type: "object", properties: { name: { type: "string" }, price: { type: "number" } } };
    const content = Array.from({ length: 1_000 }, (_, price) => ({ name: "Hat", price }));
    expect(() =>
      assertAnswers(asked({ responseSchema: { type: "array", items } }), "result", { content }),
    ).not.toThrow();
    const properties = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`p${i}`, { type: "integer" }]));
    expect(() => assertAnswers(asked({ responseSchema: { properties } }), "result", { content: {} })).not.toThrow();
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
