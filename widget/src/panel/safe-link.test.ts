import fc from "fast-check";
import { expect, it } from "vitest";
import { safeLink } from "./safe-link.ts";

it.each([
  ["https://example.com/a?b#c", "https://example.com/a?b#c"],
  ["http://example.com", "http://example.com/"],
  ["mailto:hello@example.com", "mailto:hello@example.com"],
  ["HTTPS://EXAMPLE.COM", "https://example.com/"],
])("passes %s", (address, href) => {
  expect(safeLink(address)).toBe(href);
});

it.each([
  "javascript:alert(1)",
  "JaVaScRiPt:alert(1)",
  "java\nscript:alert(1)",
  "\u0001javascript:alert(1)",
  " javascript:alert(1)",
  "data:text/html,<script>alert(1)</script>",
  "vbscript:x",
  "blob:https://example.com/1",
  "file:///etc/passwd",
  "//example.com",
  "/relative",
  "#fragment",
  "",
  "tel:123",
  "view-source:https://example.com",
])("refuses %j", (address) => {
  expect(safeLink(address)).toBeNull();
});

it("answers only the three schemes, whatever it is given", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.string().map((rest) => `javascript:${rest}`),
      ),
      (address) => {
        expect(safeLink(address) ?? "https:").toMatch(/^(https?|mailto):/);
      },
    ),
  );
});
