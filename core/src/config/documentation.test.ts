import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { defaultRateLimits } from "./rate-limits.ts";
import { VARIABLES } from "./variables.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/configuration.md"), "utf8");

test.each(Object.entries(VARIABLES))("%s is documented as it is", (name, { defaultText, description }) => {
  const written = defaultText === null ? "" : `\`${defaultText}\``;
  expect(page).toContain(`| \`${name}\` | ${written} | ${description} |`);
});

test("limits.md lists the limits as they are in production", () => {
  const limits = readFileSync(join(import.meta.dirname, "../../../docs/limits.md"), "utf8");
  const listed = [...limits.matchAll(/^\| `([a-z]+\.[a-z]+)` \| (\d+) \|$/gm)].map(([, name, limit]) => [
    name,
    Number(limit),
  ]);
  expect(listed).toEqual(Object.entries(defaultRateLimits("production")));
});

test("no variable is documented that does not exist", () => {
  const documented = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
  expect(documented).toEqual(Object.keys(VARIABLES));
});
