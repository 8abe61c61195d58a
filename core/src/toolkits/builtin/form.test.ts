import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argumentCheck } from "../argument-check.ts";
import { answerSchema, FIELD_TYPES, formOf, formParameters, type Form, type FormField } from "./form.ts";

const isAsked = argumentCheck(formParameters);
const field = (more: object) => ({ name: "a", label: "A", type: "text", ...more });

describe("a form", () => {
  it("is what the model asked for", () => {
    const fields = [
      field({ name: "mail", type: "email", required: true }),
      field({ name: "size", type: "choice", options: ["S", "M"] }),
    ];
    const args = { title: "Your order", description: "So that it fits", fields };
    expect(isAsked(args)).toBeNull();
    expect(formOf(args)).toEqual({
      title: "Your order",
      description: "So that it fits",
      fields: [
        { name: "mail", label: "A", type: "email", required: true },
        { name: "size", label: "A", type: "choice", required: false, options: ["S", "M"] },
      ],
    });
  });

  it("is mended where it could not be filled in", () => {
    const fields = [field({}), field({}), field({ type: "choice", options: ["S", "S"] }), field({ label: " " })];
    expect(formOf({ title: " ", fields })).toMatchObject({
      title: "A few questions",
      description: null,
      fields: [{ name: "a" }, { name: "a_2" }, { name: "a_3", type: "text" }, { name: "a_4", label: "a" }],
    });
  });

  it.each([
    ["no field", []],
    ["thirteen fields", Array.from({ length: 13 }, (_, index) => field({ name: `f${index}` }))],
    ["a name that is none", [field({ name: "__proto__" })]],
    ["a type that there is not", [field({ type: "password" })]],
  ])("is not asked for with %s", (_what, fields) => {
    expect(isAsked({ title: "T", fields })).toEqual(expect.any(String));
  });
});

const text = fc.string({ minLength: 1, maxLength: 20, unit: "binary-ascii" });
const asked = fc.record(
  {
    title: text,
    description: text,
    fields: fc.array(
      fc.record(
        {
          name: fc.constantFrom("a", "b", "constructor", "a_2"),
          label: text,
          type: fc.constantFrom(...FIELD_TYPES),
          required: fc.boolean(),
          options: fc.array(text, { maxLength: 5 }),
        },
        { requiredKeys: ["name", "label", "type"] },
      ),
      { minLength: 1, maxLength: 12 },
    ),
  },
  { requiredKeys: ["title", "fields"] },
);

/** What a visitor may fill in. */
function goodValue({ type, options }: FormField): unknown {
  switch (type) {
    case "text":
    case "long_text":
      return "something";
    case "email":
      return "ada@example.com";
    case "number":
      return 4.5;
    case "date":
      return "2026-11-23";
    case "choice":
      return options?.[0];
  }
}

describe("whatever the model asks for", () => {
  const check = (form: Form, content: unknown) => argumentCheck(answerSchema(form))(content);

  it("can be filled in, and is complete exactly when what is required is there", () => {
    fc.assert(
      fc.property(asked, (args) => {
        const form = formOf(args);
        expect(new Set(form.fields.map(({ name }) => name)).size).toBe(args.fields.length);
        const whole = Object.fromEntries(form.fields.map((one) => [one.name, goodValue(one)]));
        expect(check(form, whole)).toBeNull();
        for (const { name, required } of form.fields) {
          const { [name]: _left, ...rest } = whole;
          expect(check(form, rest) === null).toBe(!required);
        }
        expect(check(form, { ...whole, somethingElse: 1 })).toEqual(expect.any(String));
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    ["email", "not an address"],
    ["number", "5"],
    ["date", "tomorrow"],
    ["choice", "L"],
    ["text", ""],
    ["text", "x".repeat(1_001)],
  ] as const)("refuses a %s that is %j", (type, value) => {
    const form = formOf({ title: "T", fields: [field({ type, options: ["S", "M"] })] });
    expect(check(form, { a: value })).toEqual(expect.any(String));
  });
});
