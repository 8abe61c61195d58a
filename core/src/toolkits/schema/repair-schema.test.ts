import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argumentCheck } from "../argument-check.ts";
import { repairSchema } from "./repair-schema.ts";

const object = (properties: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  type: "object",
  properties,
  ...more,
});

function schemaOf(given: unknown, root?: unknown) {
  const repaired = root === undefined ? repairSchema(given) : repairSchema(given, root);
  if ("problem" in repaired) throw new Error(repaired.problem);
  return repaired.schema;
}

function notesOf(given: unknown) {
  const repaired = repairSchema(given);
  return "problem" in repaired ? [] : repaired.notes;
}

/** What OpenAI and Anthropic refuse, found anywhere in a schema. */
function brokenRules(schema: unknown, isRoot = true): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const {
    type,
    properties,
    required,
    items,
    enum: values,
    anyOf,
    additionalProperties,
    ...rest
  } = schema as Record<string, unknown>;
  const broken: string[] = [];
  if (isRoot && type !== "object") broken.push("the root is not an object");
  if (isRoot && (anyOf !== undefined || values !== undefined)) broken.push("alternatives at the root");
  for (const keyword of [
    "$ref",
    "$defs",
    "definitions",
    "oneOf",
    "allOf",
    "not",
    "nullable",
    "const",
    "patternProperties",
  ]) {
    if (keyword in rest) broken.push(`has ${keyword}`);
  }
  if (([type].flat().includes("array") && items === undefined) || Array.isArray(items))
    broken.push("a list without items");
  if (Array.isArray(values) && new Set(values).size !== values.length) broken.push("a value is there twice");
  const names = Object.keys((properties as object | undefined) ?? {});
  for (const name of names) if (!/^[a-zA-Z0-9_.-]{1,64}$/.test(name)) broken.push(`the name ${name}`);
  const wanted = (required as string[] | undefined) ?? [];
  if (new Set(wanted).size !== wanted.length) broken.push("required twice");
  if (properties !== undefined && wanted.some((name) => !names.includes(name)))
    broken.push("requires what is not there");
  const inside = [...Object.values((properties as object | undefined) ?? {}), items, additionalProperties];
  for (const part of [...inside, ...((anyOf as unknown[] | undefined) ?? [])]) broken.push(...brokenRules(part, false));
  return broken;
}

describe("repairing the parameters of a tool", () => {
  it("leaves a plain schema as it is", () => {
    const plain = object(
      {
        id: { type: "string", description: "The order", minLength: 1, pattern: "^[a-z0-9_-]{3,40}$" },
        count: { type: "integer", minimum: 1, maximum: 9, default: 1 },
        tags: { type: "array", items: { type: "string", enum: ["a", "b"] }, uniqueItems: true },
        address: object({ street: { type: "string" } }, { required: ["street"] }),
      },
      { required: ["id"], additionalProperties: false },
    );
    expect(repairSchema(plain)).toEqual({ schema: plain, notes: [] });
  });

  it.each([
    undefined,
    null,
    {},
    true,
    { type: null },
    { type: "None" },
    { type: ["object", "null"] },
    { properties: null },
  ])("takes %j as parameters without any", (given) => {
    expect(repairSchema(given)).toEqual({ schema: { type: "object", properties: {} }, notes: [] });
  });

  it.each([false, 7, "object", [], { type: "string" }, { type: "array", items: {} }, { anyOf: [{ type: "string" }] }])(
    "refuses %j, which is no object",
    (given) => {
      expect(repairSchema(given)).toHaveProperty("problem");
    },
  );

  it("requires each property once, and only what is there", () => {
    expect(schemaOf(object({ a: {} }, { required: ["a", "a", "b", 7] })).required).toEqual(["a"]);
  });

  it("puts what is referred to in its place, and cuts what contains itself", () => {
    const tree = {
      ...object({ root: { $ref: "#/$defs/node", description: "The first" } }),
      $defs: {
        node: object({ name: { type: "string" }, children: { type: "array", items: { $ref: "#/$defs/node" } } }),
      },
    };
    const before = JSON.stringify(tree);
    expect(schemaOf(tree)).toEqual(
      object({
        root: {
          ...object({ name: { type: "string" }, children: { type: "array", items: { type: "object" } } }),
          description: "The first",
        },
      }),
    );
    expect(notesOf(tree)).toEqual(['"root.children[]" contains itself, and is described only once.']);
    expect(JSON.stringify(tree)).toBe(before);
  });

  it.each(["file:///etc/passwd", "http://169.254.169.254/latest", "other.json#/a", "#/$defs/nothing", "#/__proto__/x"])(
    "follows no reference to %s",
    ($ref) => {
      const given = object({ a: { $ref, type: "string" } });
      expect(schemaOf(given)).toEqual(object({ a: { type: "string" } }));
      expect(notesOf(given)).toHaveLength(1);
    },
  );

  it("says null as a type, and knows what people write for types", () => {
    expect(
      schemaOf(
        object({
          a: { type: "string", nullable: true, enum: ["x"] },
          b: { type: "int" },
          c: { type: "any" },
          d: { allOf: [{ type: "string" }], nullable: true },
          e: { type: ["number", "integer", "None"] },
        }),
      ).properties,
    ).toEqual({
      a: { type: ["string", "null"], enum: ["x", null] },
      b: { type: "integer" },
      c: {},
      d: { type: ["string", "null"] },
      e: { type: "number" },
    });
  });

  it("offers the alternatives of the top together", () => {
    const given = {
      anyOf: [
        object({ id: { type: "string" }, by: { const: "id" } }, { required: ["id", "by"] }),
        object(
          { mail: { type: "string" }, by: { const: "mail" } },
          { required: ["mail", "by"], additionalProperties: false },
        ),
        { type: "null" },
      ],
    };
    expect(schemaOf(given)).toEqual(
      object(
        { id: { type: "string" }, mail: { type: "string" }, by: { anyOf: [{ enum: ["id"] }, { enum: ["mail"] }] } },
        { required: ["by"] },
      ),
    );
    expect(notesOf(given)).toHaveLength(1);
    expect(
      schemaOf({ allOf: [object({ a: {} }, { required: ["a"], additionalProperties: false }), object({ b: {} })] }),
    ).toEqual(object({ a: {}, b: {} }, { required: ["a"] }));
  });

  it("keeps alternatives below the top, as anyOf", () => {
    expect(schemaOf(object({ a: { oneOf: [{ type: "string" }, { type: "null" }] } })).properties).toEqual({
      a: { anyOf: [{ type: "string" }, { type: "null" }] },
    });
  });

  it("makes one rule of a list with a rule for each place", () => {
    const point = { type: "array", items: [{ type: "number" }, { type: "string" }] };
    expect(schemaOf(object({ point })).properties).toEqual({
      point: { type: "array", items: { anyOf: [{ type: "number" }, { type: "string" }] } },
    });
  });

  it.each(["", "with space", "filter[x]", "ü", "__proto__", "x".repeat(65)])(
    "drops an optional property named %j, and refuses a required one",
    (name) => {
      const given = object(
        Object.fromEntries([
          ["ok", {}],
          [name, {}],
        ]),
      );
      expect(schemaOf(given)).toEqual(object({ ok: {} }));
      expect(notesOf(given)).toHaveLength(1);
      expect(repairSchema({ ...given, required: [name] })).toHaveProperty("problem");
      // One that is optional goes as a whole.
      expect(schemaOf(object({ deep: { ...given, required: [name] }, ok: {} }))).toEqual(object({ ok: {} }));
    },
  );

  it("leaves out what only answers hold", () => {
    expect(schemaOf(object({ id: { readOnly: true }, name: {} }, { required: ["id", "name"] }))).toEqual(
      object({ name: {} }, { required: ["name"] }),
    );
  });

  it("leaves out rules that providers do not know, and says which", () => {
    const given = object({
      a: { type: "string", format: "phone", not: { const: "x" } },
      b: { type: "integer", format: "int64" },
    });
    expect(schemaOf(given)).toEqual(object({ a: { type: "string" }, b: { type: "integer" } }));
    expect(notesOf(given)).toEqual([
      "Rules that not every model provider knows were left out: not.",
      "Formats that not every model provider knows were left out: phone.",
    ]);
  });

  it("describes large and deep parameters in part", () => {
    let deep: unknown = { type: "string" };
    for (let depth = 0; depth < 5_000; depth++) deep = object({ inner: deep });
    expect(JSON.stringify(schemaOf(deep)).length).toBeLessThan(20_000);
    expect(notesOf(deep)).toHaveLength(1);
    const level = (inner: unknown) =>
      object(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`p${index}`, inner])));
    const wide = level(level(level({ type: "string", description: "d".repeat(900) })));
    expect(JSON.stringify(schemaOf(wide)).length).toBeLessThan(20_000);
    const names = Object.fromEntries(Array.from({ length: 3_100 }, (_, index) => [`property_${index}`, {}]));
    expect(repairSchema(object(names))).toHaveProperty("problem");
  });

  it("is not blown up by references to references", () => {
    const $defs = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => {
        const next = { $ref: `#/$defs/d${index + 1}` };
        return [`d${index}`, object({ a: next, b: next, c: { anyOf: [next, next] } })];
      }),
    );
    const repaired = repairSchema({ ...object({ a: { $ref: "#/$defs/d0" } }), $defs });
    expect(JSON.stringify(repaired).length).toBeLessThan(25_000);
  });

  const keyword = fc.constantFrom(
    ...[
      "type",
      "properties",
      "required",
      "items",
      "prefixItems",
      "enum",
      "const",
      "anyOf",
      "oneOf",
      "allOf",
      "not",
      "$ref",
    ],
    ...["$defs", "definitions", "nullable", "format", "pattern", "additionalProperties", "minimum", "exclusiveMinimum"],
    ...[
      "maximum",
      "minLength",
      "maxItems",
      "multipleOf",
      "uniqueItems",
      "default",
      "description",
      "title",
      "readOnly",
      "$id",
    ],
  );
  const word = fc.constantFrom(
    ...[
      "object",
      "array",
      "string",
      "null",
      "integer",
      "None",
      "#",
      "#/$defs/a",
      "#/properties/a",
      "date",
      "^a+$",
      "(a+)+",
      "[",
    ],
    ...["a", "b", "toString", "__proto__"],
  );
  const { schemaLike } = fc.letrec((tie) => ({
    schemaLike: fc.oneof(
      { maxDepth: 6, depthSize: "medium" },
      fc.oneof(fc.boolean(), word, fc.integer({ min: -3, max: 9 }), fc.constant(null), fc.double()),
      fc.dictionary(fc.oneof(keyword, word), tie("schemaLike"), { maxKeys: 6 }),
      fc.array(tie("schemaLike"), { maxLength: 4 }),
      fc.record({ type: fc.constant("object"), properties: fc.dictionary(word, tie("schemaLike"), { maxKeys: 4 }) }),
      fc.record({ anyOf: fc.array(tie("schemaLike"), { maxLength: 4 }), $defs: fc.record({ a: tie("schemaLike") }) }),
    ),
  }));

  it("whatever goes in: a problem, or a schema that compiles and that every provider takes", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          schemaLike,
          schemaLike.map((inside) => object({ inside })),
          fc.jsonValue(),
        ),
        (given) => {
          const before = JSON.stringify(given);
          const repaired = repairSchema(given);
          expect(JSON.stringify(given)).toBe(before);
          if ("problem" in repaired) {
            expect(repaired.problem).toMatch(/\.$/);
            return;
          }
          expect(brokenRules(repaired.schema)).toEqual([]);
          expect(argumentCheck(repaired.schema)).toBeTypeOf("function");
          // A toolkit may be given what was already repaired.
          expect(repairSchema(repaired.schema)).toHaveProperty("schema");
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
