import { describe, expect, test } from "vitest";
import { isOriginAllowed, originCandidates, parseOrigin, parseOriginPattern } from "./origin.ts";

describe("an Origin header", () => {
  test.each([
    ["https://shop.example", "https://shop.example"],
    ["http://localhost:3002", "http://localhost:3002"],
    ["HTTPS://Shop.Example", "https://shop.example"],
    ["http://127.0.0.1:8080", "http://127.0.0.1:8080"],
    ["http://[::1]:8080", "http://[::1]:8080"],
    ["https://xn--bcher-kva.example", "https://xn--bcher-kva.example"],
  ])("%s is read as %s", (header, origin) => expect(parseOrigin(header)).toBe(origin));

  test.each([
    [undefined],
    [null],
    [""],
    ["null"],
    ["shop.example"],
    ["//shop.example"],
    ["https://shop.example/"],
    ["https://shop.example/path"],
    ["https://shop.example?x"],
    ["https://shop.example#x"],
    ["https://user@shop.example"],
    ["https://user:pass@shop.example"],
    ["https://shop.example:443"],
    ["https://shop.example https://evil.example"],
    ["https://shop.example, https://evil.example"],
    ["https://shop.example\\@evil.example"],
    ["https://shop%2eexample"],
    ["https://0x7f.1"],
    ["https://bücher.example"],
    ["file://"],
    ["data:text/html,x"],
    ["javascript:alert(1)"],
    ["chrome-extension://abcdef"],
    ["capacitor://localhost"],
    ["ws://shop.example"],
    ["blob:https://shop.example/1"],
    ["https://"],
    ["https://*.shop.example"],
    ["https://*.example"],
    ["https://.shop.example"],
    ["https://www..example"],
    [" https://shop.example"],
    ["https://shop.example\t"],
    [`https://${"a".repeat(300)}.example`],
  ])("%j is refused", (header) => {
    const origin = parseOrigin(header);
    expect(origin === null || !isOriginAllowed(origin, ["https://shop.example", "https://*.example"])).toBe(true);
  });
});

describe("an allow-list", () => {
  const allows = (origin: string, ...list: string[]) => {
    const parsed = parseOrigin(origin);
    return parsed !== null && isOriginAllowed(parsed, list);
  };

  test("holds exact origins", () => {
    expect(allows("https://shop.example", "https://shop.example")).toBe(true);
    expect(allows("https://shop.example", "https://other.example", "https://shop.example")).toBe(true);
    expect(allows("https://shop.example", "https://Shop.Example/")).toBe(true);
    expect(allows("https://shop.example")).toBe(false);
  });

  test.each([
    ["another scheme", "http://shop.example"],
    ["another port", "https://shop.example:8443"],
    ["a subdomain", "https://www.shop.example"],
    ["a longer name", "https://evilshop.example"],
    ["a suffix", "https://shop.example.evil.test"],
    ["a trailing dot", "https://shop.example."],
  ])("does not extend an exact origin to %s", (_, origin) => {
    expect(allows(origin, "https://shop.example")).toBe(false);
  });

  test("a wildcard covers every subdomain", () => {
    expect(allows("https://www.shop.example", "https://*.shop.example")).toBe(true);
    expect(allows("https://a.b.c.shop.example", "https://*.shop.example")).toBe(true);
    expect(allows("https://www.shop.example:8443", "https://*.shop.example:8443")).toBe(true);
  });

  test.each([
    ["the bare domain", "https://shop.example"],
    ["another scheme", "http://www.shop.example"],
    ["another port", "https://www.shop.example:8443"],
    ["a name that ends alike", "https://evil-shop.example"],
    ["a name without the dot", "https://wwwshop.example"],
    ["a suffix", "https://www.shop.example.evil.test"],
  ])("a wildcard does not cover %s", (_, origin) => {
    expect(allows(origin, "https://*.shop.example")).toBe(false);
  });

  test("an entry without a scheme means https", () => {
    expect(allows("https://shop.example", "shop.example")).toBe(true);
    expect(allows("http://shop.example", "shop.example")).toBe(false);
    expect(allows("https://www.shop.example", "*.shop.example")).toBe(true);
    expect(allows("http://www.shop.example", "*.shop.example")).toBe(false);
  });

  test("a developer's localhost is named with its scheme and port", () => {
    expect(allows("http://localhost:3002", "http://localhost:3002")).toBe(true);
    expect(allows("http://localhost:3003", "http://localhost:3002")).toBe(false);
    expect(allows("http://tenant.localhost:3002", "http://*.localhost:3002")).toBe(true);
  });

  test.each([
    ["*"],
    ["https://*"],
    ["*.*"],
    ["https://*.*.example"],
    ["https://shop.*"],
    ["https://a*.shop.example"],
    ["*.com"],
    ["https://*.com"],
    ["https://*.127.0.0.1"],
    [""],
    ["   "],
    ["ftp://shop.example"],
    ["https://shop.example/path"],
  ])("the entry %j allows nothing", (pattern) => {
    expect(parseOriginPattern(pattern)).toBeNull();
    for (const origin of ["https://shop.example", "https://a.com", "https://a.shop.example", "http://127.0.0.1"]) {
      expect(allows(origin, pattern)).toBe(false);
    }
  });

  test("internationalised names are compared in their ASCII form", () => {
    expect(allows("https://xn--bcher-kva.example", "https://bücher.example")).toBe(true);
    expect(allows("https://www.xn--bcher-kva.example", "https://*.bücher.example")).toBe(true);
  });
});

test("the candidates of an origin are itself and a wildcard for each parent domain", () => {
  expect(originCandidates("https://a.b.shop.example:8443")).toEqual([
    "https://a.b.shop.example:8443",
    "https://*.b.shop.example:8443",
    "https://*.shop.example:8443",
  ]);
  expect(originCandidates("http://127.0.0.1:3000")).toEqual(["http://127.0.0.1:3000"]);
});
