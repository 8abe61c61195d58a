import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { residentMb, watchUsage } from "./process-usage.ts";

it.runIf(process.platform === "linux")("counts a process's own children, and not those that have a name", async () => {
  const source = `
    const { spawn } = require("node:child_process");
    const work = "while (process.cpuUsage().user < 300_000); console.log('done'); setInterval(() => {}, 1000)";
    spawn(process.execPath, ["-e", work], { stdio: "inherit" });
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"], detached: true });
  const roots = { test: process.pid, parent: parent.pid ?? 0 };
  const usage = watchUsage(roots);
  await once(parent.stdout, "data");
  const { cpu } = usage();
  const memory = residentMb(roots);
  process.kill(-(parent.pid ?? 0), "SIGKILL");
  expect(cpu?.["parent"]).toBeGreaterThan(0.25);
  expect(cpu?.["test"]).toBeLessThan(cpu?.["parent"] ?? 0);
  expect(memory?.["parent"]).toBeGreaterThan(20);
});
