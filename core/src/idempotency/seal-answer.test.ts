import { expect, test } from "vitest";
import { openAnswer, sealAnswer } from "./seal-answer.ts";

const [NEW, OLD] = ["new".repeat(12), "old".repeat(12)];

test("a sealed answer opens for whom it is for, with any of the master keys, and shows nothing meanwhile", () => {
  const body = { key: "sk_secret", list: [1, "ü"] };
  const sealed = sealAnswer({ keys: [OLD] }, "tenant:key:1", body);
  expect(JSON.stringify(sealed)).not.toContain("secret");
  expect(openAnswer({ keys: [NEW, OLD] }, "tenant:key:1", sealed)).toEqual(body);
  expect(() => openAnswer({ keys: [NEW, OLD] }, "tenant:key:2", sealed)).toThrow("sealed");
  expect(() => openAnswer({ keys: [NEW] }, "tenant:key:1", sealed)).toThrow("sealed");
});
