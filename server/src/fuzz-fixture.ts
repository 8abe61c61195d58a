/** Requests made from a route's own schema: nearly valid, mutated, huge, deep, of wrong types and in broken bytes. */
import fc from "fast-check";
import type { Belongings } from "./isolation-fixture.ts";
import { pathOf, type JsonSchema, type Operation } from "./operations-fixture.ts";

export interface FuzzedRequest {
  path: string;
  headers: Record<string, string>;
  /** Null for none. */
  body: Uint8Array<ArrayBuffer> | null;
}

const encoder = new TextEncoder();

const NASTY_TEXT = [
  "",
  " ",
  "\u0000",
  "a\u0000b",
  "\ud800",
  "\udfff\ud800",
  "\ufeff",
  "\u202e\u200b\u2028",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "NaN",
  "-0",
  "1e999",
  "null",
  "'; drop table runs; --",
  "%s%n%x",
  "${7*7}{{7*7}}",
  "../../etc/passwd",
  "<script>alert(1)</script>",
  "2026-02-30T25:61:61Z",
  "+275760-09-13T00:00:00.001Z",
  "0000-01-01T00:00:00Z",
  "http://[",
  "https://" + "a".repeat(1_900) + ".example",
  "x".repeat(70_000),
  "\u{1f600}".repeat(300),
  "e\u0301".repeat(5_000),
];

const nastyText = fc.oneof(fc.constantFrom(...NASTY_TEXT), fc.string({ unit: "binary", maxLength: 40 }));

const nastyNumber = fc.constantFrom(
  0,
  -0,
  -1,
  0.5,
  1e21,
  1e308,
  -1e308,
  2 ** 31,
  2 ** 53,
  2 ** 53 + 2,
  2 ** 63,
  Number.MIN_VALUE,
);

const deep = fc.integer({ min: 30, max: 3_000 }).map((levels) => {
  let value: unknown = "deep";
  for (let i = 0; i < Math.min(levels, 200); i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
});

/** Anything but what was asked for. */
const nasty: fc.Arbitrary<unknown> = fc.oneof(
  nastyText,
  nastyNumber,
  fc.constantFrom(null, true, false, [], {}, [[]], [null], { "": "" }),
  fc.dictionary(fc.constantFrom("__proto__", "constructor", "prototype", "id", "", "\u0000", "a.b", "0"), nastyText),
  fc.array(nastyText, { maxLength: 200 }),
  fc.jsonValue({ maxDepth: 4 }),
  deep,
);

/** What a schema allows, more or less: formats and patterns are hit now and then. */
function valid(schema: JsonSchema, name: string, own: Belongings): fc.Arbitrary<unknown> {
  const known = Object.entries(own).find(([kind]) => kind === name);
  if (known) return fc.constantFrom(known[1], known[1], "run_0198c0de00007000800000000000cafe");
  const parts = schema.anyOf ?? schema.oneOf;
  if (parts) return fc.oneof(...parts.map((each) => valid(each, name, own)));
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "object":
      return objectOf(schema, own);
    case "array":
      return fc.array(schema.items ? valid(schema.items, name, own) : fc.jsonValue({ maxDepth: 1 }), { maxLength: 4 });
    case "integer":
      return fc.integer({
        min: Math.max(schema.minimum ?? 0, -(2 ** 31)),
        max: Math.min(schema.maximum ?? 1_000, 2 ** 31),
      });
    case "number":
      return fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? 1, noNaN: true });
    case "boolean":
      return fc.boolean();
    case "null":
      return fc.constant(null);
    case "string":
      return fc.oneof(
        fc.string({ minLength: schema.minLength ?? 0, maxLength: Math.min(schema.maxLength ?? 40, 40) }),
        fc.string({ unit: "grapheme", maxLength: 20 }),
        fc.constantFrom(
          "https://shop.example/a",
          "someone@example.com",
          "2026-11-22T12:00:00Z",
          "viewer",
          "runs:read",
          "hi",
        ),
      );
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function objectOf(schema: JsonSchema, own: Belongings): fc.Arbitrary<unknown> {
  const fields = Object.entries(schema.properties ?? {});
  if (fields.length === 0)
    return fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 });
  const each = fields.map(([name, field]) => [name, valid(field, name, own)] as const);
  const required = schema.required ?? [];
  return fc.record(Object.fromEntries(each), { requiredKeys: required.filter((name) => schema.properties?.[name]) });
}

/** A valid value with one thing in it wrong. */
function mutated(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.tuple(value, nasty, fc.nat(), fc.boolean(), nastyText).map(([base, other, at, isNew, key]) => {
    if (typeof base !== "object" || base === null || Array.isArray(base)) return other;
    const names = Object.keys(base);
    const name = isNew || names.length === 0 ? key : (names[at % names.length] ?? key);
    // Also keys that assignment would take for something else.
    return Object.defineProperty({ ...base }, name, {
      value: other,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  });
}

const text = (value: unknown): Uint8Array<ArrayBuffer> => encoder.encode(JSON.stringify(value) ?? "");

/** The same key twice: the second one counts, wherever it is read. */
function withTwice(value: unknown): Uint8Array<ArrayBuffer> {
  const json = JSON.stringify(value) ?? "{}";
  return encoder.encode(
    json.length > 2 && json.startsWith("{") ? `${json.slice(0, -1)},${json.slice(1)}` : `{"a":1,"a":2}`,
  );
}

function bodyOf(operation: Operation, own: Belongings): fc.Arbitrary<Uint8Array<ArrayBuffer> | null> {
  const good = operation.body ? valid(operation.body, "", own) : fc.constantFrom<unknown>({}, null, undefined);
  const bytes = mutated(good).map(text);
  const torn = fc.tuple(bytes, fc.nat(), fc.constantFrom(0xff, 0xc0, 0xed, 0x80, 0x00)).map(([whole, at, byte]) => {
    const copy = Uint8Array.from(whole);
    if (copy.length > 0) copy[at % copy.length] = byte;
    return copy;
  });
  return fc.oneof(
    { weight: 8, arbitrary: good.map(text) },
    { weight: 10, arbitrary: bytes },
    { weight: 3, arbitrary: nasty.map(text) },
    { weight: 2, arbitrary: good.map(withTwice) },
    { weight: 3, arbitrary: torn },
    { weight: 2, arbitrary: fc.tuple(bytes, fc.nat(100)).map(([whole, cut]) => whole.slice(0, -1 - cut)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((each) => Uint8Array.from(each)) },
    { weight: 1, arbitrary: fc.constant(encoder.encode(`${"[".repeat(20_000)}${"]".repeat(20_000)}`)) },
    { weight: 1, arbitrary: fc.constant(null) },
  );
}

const contentType = fc.oneof(
  { weight: 12, arbitrary: fc.constant("application/json") },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "text/plain",
      "application/json; charset=utf-16",
      "application/vnd.api+json",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/xml",
      "",
      "json",
    ),
  },
);

/** A path's or query's value as it is put into a URL. */
const urlText = fc.oneof(
  nastyText.map((each) => encodeURIComponent(each.toWellFormed()).slice(0, 3_000)),
  fc.constantFrom("%00", "%ff", "%c0%af", "%2e%2e%2f", "%zz", "1", "-1", "99999999999999999999", "0x10", "1e3", "[]"),
);

function pathArbitrary(operation: Operation, own: Belongings): fc.Arbitrary<string> {
  const params = operation.params.map((name) =>
    fc.oneof(
      { weight: 6, arbitrary: fc.constant((own as Record<string, string>)[name] ?? "x") },
      { weight: 1, arbitrary: fc.constant(`${name.slice(0, 3)}_0198c0de00007000800000000000cafe`) },
      { weight: 1, arbitrary: urlText.filter((each) => each !== "" && each !== "." && each !== "..") },
    ),
  );
  const names = [...operation.query, "limit", "__proto__", "x"];
  const ownValue = fc.constantFrom(...Object.values(own)).map(encodeURIComponent);
  const query = fc.array(fc.tuple(fc.constantFrom(...names), fc.oneof(urlText, ownValue, fc.constantFrom("1", "5"))), {
    maxLength: 3,
  });
  return fc.tuple(fc.tuple(...params), query).map(([values, pairs]) => {
    let index = 0;
    const path =
      operation.params.length === 0
        ? pathOf(operation, {})
        : operation.path.replaceAll(/\{\w+\}/g, () => values[index++] ?? "x");
    const search = pairs.map(([name, value]) => `${name}=${value}`).join("&");
    return search === "" ? path : `${path}?${search}`;
  });
}

/** Requests for one route, by somebody who may call it. */
export function requestsFor(
  operation: Operation,
  { own, credentials }: { own: Belongings; credentials: Record<string, string>[] },
): fc.Arbitrary<FuzzedRequest> {
  const header = fc.constantFrom<Record<string, string>>(
    {},
    {},
    {},
    {},
    { "idempotency-key": "the-same" },
    { "idempotency-key": "with space" },
    { "idempotency-key": "k".repeat(300) },
    { "last-event-id": "-1" },
    { accept: "application/jsonl" },
    { accept: "\u00ff/*;q=nan" },
    { "x-tenant-id": "tenant_x" },
    { "accept-encoding": "br;q=,gzip" },
  );
  const body = operation.method === "GET" ? fc.constant(null) : bodyOf(operation, own);
  return fc
    .tuple(pathArbitrary(operation, own), fc.constantFrom(...credentials), header, contentType, body)
    .map(([path, credential, more, type, bytes]) => ({
      path,
      headers: { ...credential, ...more, ...(bytes === null ? {} : { "content-type": type }) },
      body: bytes,
    }));
}
