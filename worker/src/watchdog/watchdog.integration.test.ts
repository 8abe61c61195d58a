import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { afterEach, expect, test } from "vitest";

const started: RunningProcess[] = [];
afterEach(async () => {
  for (const process of started.splice(0)) await process.stop(0);
});

/** A process with a watchdog that gives it a second, and then does what `code` says; prints what it is asked to. */
function watched(code: string, flags: readonly string[] = []): RunningProcess {
  const program = `
    import { writeSync } from "node:fs";
    import { startWatchdog } from "./worker/src/watchdog/watchdog.ts";
    startWatchdog({ stuckSeconds: 1 });
    const print = (line) => writeSync(1, line + "\\n");
    // The watchdog has seen it turn.
    setTimeout(() => { print("turning"); ${code} }, 1_500);
    setInterval(() => {}, 1_000);`;
  const process = startProcess({ name: "watched", args: [...flags, "--input-type=module-typescript", "-e", program] });
  started.push(process);
  return process;
}

test("a process in an endless loop ends itself and says so", async () => {
  const process = watched("for (;;);");
  expect(await process.exited).toEqual({ code: null, signal: "SIGKILL" });
  expect(process.logs()).toContain('"msg":"the event loop has stood still for 1 s: the process ends itself"');
});

test("one that is frozen and goes on is not stuck, nor is one that works in pieces", async () => {
  const process = watched(`
    let pieces = 0;
    const piece = () => {
      const until = performance.now() + 300;
      while (performance.now() < until);
      if (++pieces < 8) setTimeout(piece); else print("done");
    };
    print("working");
    piece();`);
  await process.waitForOutput(/working/);
  process.signal("SIGSTOP");
  // Frozen for longer than a process may be stuck.
  await watched("for (;;);").exited;
  process.signal("SIGCONT");
  await process.waitForOutput(/done/);
  expect(process.isRunning()).toBe(true);
});

test("one that a debugger holds is left alone", async () => {
  const process = watched(
    "const until = performance.now() + 4_000; while (performance.now() < until); print('survived');",
    ["--inspect=127.0.0.1:0"],
  );
  await process.waitForOutput(/survived/);
  expect(process.isRunning()).toBe(true);
});

test("one whose last word nobody reads any more ends all the same", async () => {
  const process = watched("for (;;);");
  await process.waitForOutput(/turning/);
  process.closeOutput();
  expect(await process.exited).toEqual({ code: null, signal: "SIGKILL" });
});
