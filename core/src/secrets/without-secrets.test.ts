import fc from "fast-check";
import { expect, test } from "vitest";
import { createRedactor } from "./without-secrets.ts";

test.each([
  ["as it is", "key-1234567", "it was key-1234567, twice: key-1234567"],
  ["without its scheme", "Bearer abc.def-123", "token abc.def-123 is not valid"],
  ["as JSON spells it", 'quo"ted\\key', JSON.stringify({ key: 'quo"ted\\key' })],
  ["as an address spells it", "a key/with+signs", `?key=${encodeURIComponent("a key/with+signs")}`],
  [
    "decoded, where it is Basic",
    `Basic ${Buffer.from("shop:pass-word-1").toString("base64")}`,
    "user shop, pass-word-1",
  ],
])("a secret is taken out %s", (_how, secret, text) => {
  const clean = createRedactor([secret]).whole(text);
  expect(clean).toContain("[redacted]");
  for (const part of ["1234567", "abc.def", "quo", "signs", "pass-word-1"].filter((each) => secret.includes(each))) {
    expect(clean).not.toContain(part);
  }
});

test("a text that was cut in the middle of a secret keeps no beginning of it", () => {
  const redactor = createRedactor(["Bearer abcdefghijklmnop"]);
  expect(redactor.cut("sent: Bearer abcdefghijk")).toBe("sent: [redacted]");
  expect(redactor.cut("sent: abcdefgh")).toBe("sent: [redacted]");
  expect(redactor.cut("sent: ab")).toBe("sent: ab");
  expect(redactor.cut("Bearer abcdefghijklmnop and more")).toBe("[redacted] and more");
});

test("whatever the secret and wherever it stands, it is gone, and a text without one stays as it is", () => {
  const secret = fc.string({ minLength: 6, maxLength: 40 }).filter((value) => value.trim().length >= 6);
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
      const { whole } = createRedactor([value]);
      const clean = whole(`${before}${value}${after}`);
      fc.pre(!"[redacted]".includes(value.trim()) && !`${before}[redacted]${after}`.includes(value.trim()));
      expect(clean).not.toContain(value.trim());
    }),
  );
  expect(createRedactor([]).whole("anything")).toBe("anything");
  expect(createRedactor(["2"]).whole("version 2")).toBe("version 2");
});
