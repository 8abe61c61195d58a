import { describe, expect, test, vi } from "vitest";
import { createKnownOrigins } from "./known-origins.ts";

function setUp(allowed: string[]) {
  let now = 0;
  const find = vi.fn(async (candidates: string[]) => candidates.some((each) => allowed.includes(each)));
  const isKnown = createKnownOrigins(find, () => now);
  return { find, isKnown, allowed, pass: (ms: number) => (now += ms) };
}

describe("known origins", () => {
  test("are asked for by every pattern that would allow them", async () => {
    const { isKnown, find } = setUp(["*.shop.example"]);
    expect(await isKnown("https://www.shop.example")).toBe(true);
    expect(find.mock.calls).toEqual([
      [["https://www.shop.example", "https://*.shop.example", "www.shop.example", "*.shop.example"]],
    ]);
    expect(await isKnown("http://www.shop.example")).toBe(false);
    expect(await isKnown("https://shop.example")).toBe(false);
  });

  test("are not asked for when the header is no origin", async () => {
    const { isKnown, find } = setUp([]);
    for (const header of [undefined, null, "", "null", "file://", "https://a.example/path"])
      expect(await isKnown(header)).toBe(false);
    expect(find).not.toHaveBeenCalled();
  });

  test("are remembered for 5 s, unknown ones too", async () => {
    const { isKnown, find, allowed, pass } = setUp(["https://a.example"]);
    await isKnown("https://a.example");
    await isKnown("https://b.example");
    allowed.splice(0, 1, "https://b.example");
    pass(4_999);
    expect(await isKnown("https://b.example")).toBe(false);
    pass(1);
    expect(await isKnown("https://b.example")).toBe(true);
    expect(await isKnown("https://a.example")).toBe(false);
    expect(find).toHaveBeenCalledTimes(4);
  });

  test("are asked for once at a time", async () => {
    const { isKnown, find } = setUp(["https://a.example"]);
    expect(await Promise.all([isKnown("https://a.example"), isKnown("https://a.example")])).toEqual([true, true]);
    expect(find).toHaveBeenCalledOnce();
  });

  test("stand while Postgres does not answer; a new one cannot be judged", async () => {
    const { isKnown, find, pass } = setUp(["https://a.example"]);
    await isKnown("https://a.example");
    pass(60_000);
    find.mockRejectedValue(new Error("away"));
    expect(await isKnown("https://a.example")).toBe(true);
    await expect(isKnown("https://b.example")).rejects.toThrow("away");
  });
});
