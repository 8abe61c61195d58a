import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

/** Makes 30 functions hot, says so, and lets the compiler's threads end. */
const program = (before: string): string => `
  import { stopCompiling } from ${JSON.stringify(import.meta.resolve("./stop-compiling.ts"))};
  const warm = () => {
    for (let i = 0; i < 30; i++) {
      const hot = new Function("a", "let s = " + i + "; for (let k = 0; k < 20; k++) s = (s + k * a) | 0; return s;");
      for (let k = 0; k < 4000; k++) hot(k);
    }
  };
  ${before}
  console.log("from here on");
  warm();
`;

async function compiled(before: string): Promise<number> {
  const flags = ["--trace-opt", "--input-type=module", "--eval", program(before)];
  const { stdout } = await promisify(execFile)(process.execPath, flags, { maxBuffer: 10_000_000 });
  return stdout.slice(stdout.indexOf("from here on")).match(/\[compiling method/g)?.length ?? 0;
}

test("hot code is compiled in the background, and no more once that is stopped", async () => {
  expect(await compiled("")).toBeGreaterThan(0);
  expect(await compiled("stopCompiling();")).toBe(0);
});
