import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { buildWidget } from "../build.ts";

/** Bytes, gzip -9. What is gated is what a visitor waits for; the goals are tighter than what fails the build. */
const EAGER_LIMIT = 3_800;
const TOTAL_LIMIT = 26_000;
/** What comes later, each when it is first needed, with whatever it imports besides the panel. */
const LATER_LIMITS = { "open-cards": 8_000, "page-tools": 3_000, "source-list": 1_200, doctor: 1_000 };

it("keeps the eager script, and all that a usable chat needs, within their budgets", async () => {
  const directory = mkdtempSync(join(tmpdir(), "agent-engine-widget-size-"));
  try {
    const files = await buildWidget(directory);
    const sizes = Object.fromEntries(
      files.map((file) => [file, gzipSync(readFileSync(join(directory, file)), { level: 9 }).length]),
    );
    const panel = files.find((file) => file.startsWith("panel-")) ?? "";
    const eager = sizes["widget.js"] ?? Infinity;
    const lazy = sizes[panel] ?? Infinity;
    console.log(`widget.js ${eager} + ${panel} ${lazy} = ${eager + lazy} bytes, gzip`);
    expect(eager).toBeLessThanOrEqual(EAGER_LIMIT);
    expect(eager + lazy).toBeLessThanOrEqual(TOTAL_LIMIT);
    for (const [name, limit] of Object.entries(LATER_LIMITS)) {
      const chunk = files.find((file) => file.startsWith(`${name}-`)) ?? "";
      const imported = [...readFileSync(join(directory, chunk), "utf8").matchAll(/from"\.\/([\w.-]+)"/g)];
      const all = [chunk, ...imported.map(([, file = ""]) => file).filter((file) => file !== panel)];
      const bytes = all.reduce((sum, file) => sum + (sizes[file] ?? Infinity), 0);
      console.log(`${all.join(" + ")} ${bytes} bytes, gzip`);
      expect(bytes, name).toBeLessThanOrEqual(limit);
    }
    // A hashed name may be kept for a year; the lines of a minified file are those inside its strings.
    expect(panel).toMatch(/^panel-[\w-]{8}\.js$/);
    const source = readFileSync(join(directory, panel), "utf8");
    expect(source.length / source.split("\n").length).toBeGreaterThan(1_000);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
