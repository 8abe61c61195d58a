import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { departure, examplesOf, readDocument } from "./documented.ts";

const examples = examplesOf(readDocument("docs/api-walkthrough.md"));

/** Stands between the outputs of two commands; the test's own, so that no answer can hold it. */
const SEPARATOR = "=== the next command of the walk-through ===";

let folder: string;
let product: RunningProcess;
let shell: RunningProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "agent-engine-test-walkthrough-"));
  // As root, Postgres runs under another account, which must reach it.
  chmodSync(folder, 0o755);
  product = startProcess({
    name: "npm start",
    args: ["scripts/start.ts"],
    env: { DATA_DIR: join(folder, ".data"), PORT: "0", DEMO_PORT: "0" },
  });
  await product.waitForOutput(/Ctrl-C stops everything/);
  const script = join(folder, "walkthrough.sh");
  writeFileSync(script, examples.map(({ command }) => command).join(`echo '${SEPARATOR}'\n`));
  shell = startProcess({ name: "the walk-through", program: "bash", args: [script], cwd: folder });
  await shell.exited;
});

afterAll(async () => {
  await shell?.stop();
  await product?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("there are commands to try", () => expect(examples.length).toBeGreaterThan(15));

test.each(examples.map((example, index) => ({ ...example, index })))(
  "$heading: example $index",
  ({ output, index }) => {
    const printed = shell.logs().split(`${SEPARATOR}\n`)[index]?.trim() ?? "";
    expect(departure(output, printed), printed).toBeNull();
  },
);
