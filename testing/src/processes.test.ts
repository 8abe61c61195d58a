import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { startProcess, type RunningProcess } from "./processes.ts";
import { waitFor } from "./wait-for.ts";

let folder: string;
const started: RunningProcess[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-engine-processes-"));
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((running) => running.stop(100)));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(source: string, env: Record<string, string> = {}): RunningProcess {
  const file = join(folder, `script-${started.length}-${Date.now()}.mjs`);
  writeFileSync(file, source);
  const running = startProcess({ name: "script", args: [file], env });
  started.push(running);
  return running;
}

/** An orphan that ended may stay a zombie for a while: nobody has read its exit status, but it runs no more. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

it("gives only the environment asked for, collects output and knows the exit", async () => {
  const script = run(`console.log(process.env.COLOUR, Object.keys(process.env).includes("VITEST")); process.exit(3)`, {
    COLOUR: "green",
  });
  expect(await script.exited).toEqual({ code: 3, signal: null });
  expect(script.logs()).toContain("green false");
});

it("waits for a line and for a URL", async () => {
  const script = run(`
    import { createServer } from "node:http";
    let ready = false;
    const server = createServer((_, response) => response.writeHead(ready ? 200 : 503).end());
    server.listen(0, "127.0.0.1", () => { console.log("port " + server.address().port); setTimeout(() => (ready = true), 50); });
  `);
  const [, port] = await script.waitForOutput(/port (\d+)/);
  await script.waitUntilReady(`http://127.0.0.1:${port}/readyz`);
});

it("rejects with the output's end when the process ends instead", async () => {
  const script = run(`console.error("no database"); process.exit(1)`);
  await expect(script.waitForOutput(/ready/)).rejects.toThrow(/script ended \(1\)[^]*no database/);
});

it("stops everything the process started, also what ignores SIGTERM or left its group", async () => {
  const script = run(`
    import { spawn } from "node:child_process";
    process.on("SIGTERM", () => {});
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true, stdio: "ignore" });
    child.unref();
    setInterval(() => {}, 1000);
    console.log("child " + child.pid);
  `);
  const [, child] = await script.waitForOutput(/child (\d+)/);
  expect(isAlive(Number(child))).toBe(true);
  expect(await script.stop(50)).toMatchObject({ signal: "SIGKILL" });
  await waitFor(() => !isAlive(Number(child)), { describe: "the grandchild to be gone" });
});

it("signals the process alone", async () => {
  const script = run(`setInterval(() => console.log("tick"), 5)`);
  await script.waitForOutput(/tick/);
  script.signal("SIGKILL");
  expect(await script.exited).toEqual({ code: null, signal: "SIGKILL" });
  expect(script.isRunning()).toBe(false);
});
