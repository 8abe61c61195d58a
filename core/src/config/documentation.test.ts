import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { VARIABLES } from "./variables.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/configuration.md"), "utf8");

test.each(Object.entries(VARIABLES))("%s is documented as it is", (name, { defaultText, description }) => {
  const written = defaultText === null ? "" : `\`${defaultText}\``;
  expect(page).toContain(`| \`${name}\` | ${written} | ${description} |`);
});

test("no variable is documented that does not exist", () => {
  const documented = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
  expect(documented).toEqual(Object.keys(VARIABLES));
});
