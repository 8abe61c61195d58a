import { spawn } from "node:child_process";
import { processEnvironment, type Environment } from "@agent-engine/core/config/env.ts";

export interface Outcome {
  /** Null when a signal ended it. */
  code: number | null;
  /** What it wrote to either stream, in order. */
  output: string;
}

/** Runs a program to its end, and ends it when this process is told to stop. Rejects when it cannot be started. */
export function runProgram(
  program: string,
  args: readonly string[],
  cwd: string,
  { env = {}, show = false }: { env?: Environment; /** Copies what it writes to the terminal. */ show?: boolean } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...processEnvironment(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        output += chunk;
        if (show) process.stdout.write(chunk);
      });
    }
    const end = () => child.kill("SIGTERM");
    process.once("exit", end);
    child.once("error", reject);
    child.once("close", (code) => {
      process.off("exit", end);
      resolve({ code, output });
    });
  });
}
