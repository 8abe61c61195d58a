import { expect, test } from "vitest";
import type { ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import { checkToolkits } from "./check-toolkits.ts";

const choice = (toolkit: string, settings: Record<string, unknown>): ToolkitChoice => ({
  toolkit,
  settings,
  tools: {},
  defaultPolicy: "auto",
});

const working = choice("http", {
  name: "shop",
  baseUrl: "https://shop.example/api",
  operations: [{ name: "stock", description: "How many are left", method: "GET", path: "/stock" }],
});

test("takes toolkits that would work", () => {
  expect(() => checkToolkits([])).not.toThrow();
  expect(() => checkToolkits([working])).not.toThrow();
});

test("names each toolkit and setting that would not, with its place", () => {
  const bad = [
    working,
    choice("htpp", {}),
    choice("http", { name: "shop", baseUrl: "ftp://shop.example", operations: [] }),
  ];
  for (const baseUrl of ["https://u:p@shop.example", "https://shop.example?key=1", "https://shop.example/#a"]) {
    const settings = { ...working.settings, baseUrl };
    expect(() => checkToolkits([choice("http", settings)])).toThrow("put credentials into headers");
  }
  expect(() => checkToolkits(bad)).toThrow(
    expect.objectContaining({
      code: "invalid_request",
      detail: expect.stringMatching(/^toolkits\[1\]: .*"htpp".*; toolkits\[2\]\.settings: baseUrl/),
    }),
  );
});

test("takes policies for tools that pages may have, once and without settings", () => {
  const page = { ...choice("page", {}), tools: { add_to_basket: "approve" as const, page_look: "off" as const } };
  expect(() => checkToolkits([page])).not.toThrow();
  expect(() => checkToolkits([page, working, { ...page, tools: { "2 hats": "off" }, settings: { url: "/" } }])).toThrow(
    expect.objectContaining({
      code: "invalid_request",
      detail: expect.stringMatching(
        /^toolkits\[2\]: .*once; toolkits\[2\]\.tools: .*"2 hats"; toolkits\[2\]\.settings/,
      ),
    }),
  );
});
