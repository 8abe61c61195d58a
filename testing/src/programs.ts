/**
 * Programs that tests need and npm cannot bring: found on the machine, else installed from the system's packages when
 * that is possible, else an error that says what to do. Never a silent skip.
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { processEnvironment } from "@agent-engine/core/config/env.ts";

interface Program {
  readonly what: string;
  readonly names: readonly string[];
  readonly aptPackage: string;
  readonly elsewhere: readonly string[];
  readonly byHand: string;
}

const PROGRAMS = {
  redis: {
    what: "Redis",
    names: ["redis-server"],
    aptPackage: "redis-server",
    elsewhere: [],
    byHand: "install it with your system's packages (Debian: apt-get install redis-server, macOS: brew install redis)",
  },
  chromium: {
    what: "Chromium",
    names: ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
    aptPackage: "chromium",
    elsewhere: [
      "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
      "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ],
    byHand: "install it with your system's packages (Debian: apt-get install chromium, macOS: brew install chromium)",
  },
} satisfies Record<string, Program>;

const USUAL_FOLDERS = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin", "/snap/bin"];

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function find(program: Program): string | null {
  const folders = [...(processEnvironment()["PATH"] ?? "").split(delimiter).filter(Boolean), ...USUAL_FOLDERS];
  const candidates = [
    ...program.names.flatMap((name) => folders.map((folder) => join(folder, name))),
    ...program.elsewhere,
  ];
  return candidates.find(isExecutable) ?? null;
}

function aptInstall(aptPackage: string): void {
  const env = { ...processEnvironment(), DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: string[]) => execFileSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"] });
  apt("update", "-qq");
  // Debian starts a service on install where it can; a leftover one only wastes memory, as tests start their own.
  apt("install", "-y", "-qq", "--no-install-recommends", aptPackage);
}

/**
 * The path of a program.
 * @throws Error that says how to install it.
 */
export function requireProgram(key: keyof typeof PROGRAMS): string {
  const program: Program = PROGRAMS[key];
  const found = find(program);
  if (found !== null) return found;
  if (process.getuid?.() === 0 && find({ ...program, names: ["apt-get"], elsewhere: [] }) !== null) {
    console.log(`${program.what} is not on this machine; installing it (apt-get install ${program.aptPackage}) …`);
    try {
      aptInstall(program.aptPackage);
    } catch (error) {
      throw new Error(`${program.what} could not be installed by apt-get; ${program.byHand}.`, { cause: error });
    }
    const installed = find(program);
    if (installed !== null) return installed;
  }
  throw new Error(`The tests need ${program.what}, which is not on this machine: ${program.byHand}.`);
}
