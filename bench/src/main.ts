import { parseArgs } from "node:util";
import { mainJob } from "./main-job.ts";
import { resilience } from "./resilience.ts";
import { tenancy } from "./tenancy.ts";
import { toolkits } from "./toolkits.ts";

const BENCHMARKS = { "main-job": mainJob, resilience, tenancy, toolkits };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false } },
});
const wanted = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
const known = wanted.filter((name): name is keyof typeof BENCHMARKS => name in BENCHMARKS);

if (known.length < wanted.length) {
  console.error(`Unknown benchmark. There are: ${Object.keys(BENCHMARKS).join(", ")} (each takes --quick).`);
  process.exitCode = 2;
} else {
  for (const name of known) {
    const isWhole = await BENCHMARKS[name](values.quick ? "quick" : "full");
    if (!isWhole) process.exitCode = 1;
  }
}
