import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const top = new Set(readdirSync(ROOT));
const documents = globSync(["*.md", "docs/**/*.md"], { cwd: ROOT });

/** A file or folder of the repository as the documents write it: `core/src/runs/`, `scripts/serve.ts`. */
const PATH = /`((?:[\w-]+\/)+[\w.-]*)`/g;
const LINK = /\]\((?!https?:|#)([^)#]+)/g;

test.each(documents)("%s names and links only files that are there", (document) => {
  const text = readFileSync(join(ROOT, document), "utf8");
  const named = [...text.matchAll(PATH)].map(([, path = ""]) => path);
  const linked = [...text.matchAll(LINK)].map(([, path = ""]) => join(dirname(document), path));
  const ours = named.filter((path) => top.has(path.split("/")[0] ?? ""));
  expect([...ours, ...linked].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test("documents say where things are", () => expect(documents.length).toBeGreaterThan(10));
