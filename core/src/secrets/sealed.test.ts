import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hintOf, isMasked, masked } from "./mask.ts";
import { MasterKeyMissing, masterKeyIds, unwrapDataKey, wrapDataKey } from "./master-keys.ts";
import { CannotOpen, keyIdOf, open, seal, type SealingKey } from "./sealed.ts";

const newKey = (): SealingKey => ({ id: randomBytes(16), key: randomBytes(32) });
const key = newKey();
const place = ["secrets", "tenant", "row", "field"];

describe("a sealed value", () => {
  test("opens to what it was, in its place, under its key", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3_000 }), fc.array(fc.string(), { maxLength: 6 }), (value, where) => {
        expect(open(key, seal(key, value, where), where)).toEqual(Buffer.from(value));
      }),
    );
  });

  test("opens in no other place: another part, one more, one less, parts cut elsewhere", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 8 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.string({ maxLength: 8 }), { minLength: 1, maxLength: 5 }),
        (here, there) => {
          fc.pre(JSON.stringify(here) !== JSON.stringify(there));
          expect(() => open(key, seal(key, Buffer.from("value"), here), there)).toThrow(CannotOpen);
        },
      ),
    );
    const sealed = seal(key, Buffer.from("value"), ["ab", "c"]);
    for (const where of [["a", "bc"], ["abc"], ["ab", "c", ""], ["ab"], []]) {
      expect(() => open(key, sealed, where)).toThrow(CannotOpen);
    }
  });

  test("opens under no other key, not even with the same id, and not when any bit was changed or any byte cut", () => {
    const sealed = seal(key, Buffer.from("a secret of some length"), place);
    expect(() => open(newKey(), sealed, place)).toThrow(CannotOpen);
    expect(() => open({ ...newKey(), id: key.id }, sealed, place)).toThrow(CannotOpen);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => open(key, changed, place)).toThrow(CannotOpen);
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(() => open(key, sealed.subarray(0, length), place)).toThrow(CannotOpen);
    }
  });

  test("is another one each time, names its key, and tells nothing of what is in it", () => {
    const value = Buffer.from("canary-".repeat(20));
    const sealed = Array.from({ length: 50 }, () => seal(key, value, place));
    expect(new Set(sealed.map((each) => each.toString("hex"))).size).toBe(50);
    expect(new Set(sealed.map((each) => each.subarray(17, 29).toString("hex"))).size).toBe(50);
    for (const each of sealed) {
      expect(keyIdOf(each)).toBe(key.id.toString("hex"));
      expect(each.toString("latin1")).not.toContain("canary");
    }
  });

  test("says nothing of its content when it does not open", () => {
    const sealed = seal(key, Buffer.from("canary"), place);
    try {
      open(newKey(), sealed, place);
      expect.unreachable();
    } catch (error) {
      expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(/canary/);
    }
  });
});

describe("a data key", () => {
  const where = { tenant: "a".repeat(32), dataKey: "b".repeat(32) };
  const dataKey = randomBytes(32);

  test("is wrapped under the first master key and unwrapped by any", () => {
    const { wrapped, masterKeyId } = wrapDataKey({ keys: ["first", "second"] }, where, dataKey);
    expect([masterKeyId]).toEqual(masterKeyIds({ keys: ["first"] }));
    expect(unwrapDataKey({ keys: ["third", "first"] }, where, wrapped)).toEqual(dataKey);
  });

  test("names the master key that is missing, and what to do", () => {
    const { wrapped, masterKeyId } = wrapDataKey({ keys: ["first"] }, where, dataKey);
    expect(() => unwrapDataKey({ keys: ["second"] }, where, wrapped)).toThrow(MasterKeyMissing);
    expect(() => unwrapDataKey({ keys: ["second"] }, where, wrapped)).toThrow(
      new RegExp(`SECRET_KEY lacks the master key ${masterKeyId.slice(0, 12)}.*SECRET_KEY=new,old`),
    );
    expect(() => wrapDataKey({ keys: [] }, where, dataKey)).toThrow("SECRET_KEY");
  });

  test("unwraps for no other tenant and no other row", () => {
    const { wrapped } = wrapDataKey({ keys: ["first"] }, where, dataKey);
    for (const elsewhere of [
      { ...where, tenant: "c".repeat(32) },
      { ...where, dataKey: "c".repeat(32) },
    ]) {
      expect(() => unwrapDataKey({ keys: ["first"] }, elsewhere, wrapped)).toThrow(CannotOpen);
    }
  });
});

test("a mask shows four characters of a long secret and none of a short one", () => {
  expect(masked(hintOf("sk-abcdefghijklmnop"))).toBe("••••mnop");
  expect(masked(hintOf("short"))).toBe("••••");
  expect(isMasked(masked(hintOf("short")))).toBe(true);
  expect(isMasked("Bearer x")).toBe(false);
});
