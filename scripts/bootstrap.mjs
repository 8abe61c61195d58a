/**
 * The first thing every npm command runs, on whatever Node the person has (20 or newer) and before anything is
 * installed; so it imports nothing but Node, and is plain JavaScript.
 *
 *   1. installs the dependencies when they are not what the lockfile says
 *   2. finds Node 24 among them
 *   3. runs the command under it, hands it every signal, and ends as it ends
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MODULES = join(ROOT, "node_modules");
const INSTALL_LOCK = join(ROOT, ".install.lock");

/** What the code needs where npm has no Node 24 package for the machine (macOS): types are stripped from there on. */
const OLDEST_OWN_NODE = [22, 22, 2];

/**
 * A young generation of up to 32 MB instead of 16: what a token leaves behind dies young, and each collection of the old
 * one, every two seconds with 8 MB, holds up the tokens of all streams for some 40 ms. It grows only under load. And no
 * memory reducer: see scripts/collect-when-quiet.ts.
 */
const NODE_FLAGS = JSON.parse(readFileSync(join(ROOT, "scripts/node-flags.json"), "utf8"));

/** A command is a TypeScript file and the arguments put before the person's own. */
const COMMANDS = {
  start: ["scripts/start.ts"],
  test: ["scripts/test.ts"],
  "test:long": ["scripts/test.ts", "--long"],
  bench: ["bench/src/main.ts"],
  chaos: ["e2e/chaos/main.ts"],
  "create-tenant": ["scripts/create-tenant.ts"],
  "rotate-secrets": ["scripts/rotate-secrets.ts"],
  "verify-audit": ["scripts/verify-audit.ts"],
};

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return null;
  }
}

/** npm records what it installed in node_modules, as its last act; an interrupted install has no record. */
function isInstalled() {
  const wanted = readJson(join(ROOT, "package-lock.json"))?.packages;
  const installed = readJson(join(MODULES, ".package-lock.json"))?.packages;
  if (!wanted || !installed) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith("node_modules/") && !path.includes("/node_modules/")) return true;
    const found = installed[path];
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Two commands started together on a fresh clone must not install into the same folder. */
async function withInstallLock(work) {
  for (let told = false; ; told = true) {
    try {
      mkdirSync(INSTALL_LOCK);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") fail(`Cannot write in ${ROOT} (${error.code}), so nothing can be installed there.`);
      const owner = Number(readJson(join(INSTALL_LOCK, "pid")));
      if (owner > 0 && !isAlive(owner)) rmSync(INSTALL_LOCK, { recursive: true, force: true });
      else if (!told) console.log("Another command is installing the dependencies; waiting for it …");
      await new Promise((done) => setTimeout(done, 500));
    }
  }
  writeFileSync(join(INSTALL_LOCK, "pid"), String(process.pid));
  try {
    await work();
  } finally {
    rmSync(INSTALL_LOCK, { recursive: true, force: true });
  }
}

/** npm would otherwise run install scripts with a `node` out of the folder it is replacing. */
function pathWithoutModules() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.filter((folder) => !folder.split(sep).includes("node_modules")).join(delimiter);
}

/** npm makes the folders first and fills them later. */
function countInstalled() {
  try {
    const folders = readdirSync(MODULES).flatMap((name) =>
      name.startsWith("@") ? readdirSync(join(MODULES, name)).map((part) => join(name, part)) : [name],
    );
    return folders.filter((name) => existsSync(join(MODULES, name, "package.json"))).length;
  } catch {
    return 0;
  }
}

function showProgress(startedAt) {
  const overwrite = process.stdout.isTTY;
  const timer = setInterval(
    () => {
      const line = `  ${Math.round((Date.now() - startedAt) / 1000)} s, ${countInstalled()} packages …`;
      process.stdout.write(overwrite ? `\r${line}` : `${line}\n`);
    },
    overwrite ? 1_000 : 10_000,
  );
  return () => {
    clearInterval(timer);
    if (overwrite) process.stdout.write("\r\u001b[K");
  };
}

function explainInstallFailure(output) {
  const lines = output.trim().split("\n").slice(-15).join("\n");
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|network/i.test(output)) {
    return `${lines}\n\nnpm could not reach its package registry. The first start needs the network: connect (or set npm's proxy) and run the command again.`;
  }
  if (/ENOSPC/.test(output)) return `${lines}\n\nThe disk is full. The dependencies need about 1 GB.`;
  return `${lines}\n\nThe dependencies could not be installed (npm ci failed; its last lines are above).`;
}

async function install() {
  if (isInstalled()) return;
  console.log("Installing the dependencies: about a minute, and only when they have changed.");
  const startedAt = Date.now();
  const stopProgress = showProgress(startedAt);
  // Under npm, the same npm is used; started by hand, the one on the PATH.
  const npmScript = process.env.npm_execpath?.endsWith(".js") ? process.env.npm_execpath : null;
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=warn"];
  const child = spawn(npmScript ? process.execPath : "npm", npmScript ? [npmScript, ...args] : args, {
    cwd: ROOT,
    // CI: lefthook's install script would otherwise put hooks into the person's clone unasked.
    env: { ...process.env, PATH: pathWithoutModules(), CI: "true", LEFTHOOK: "0" },
    stdio: ["ignore", "pipe", "pipe"],
    shell: process.platform === "win32" && !npmScript,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const stop = (signal) => child.kill(signal);
  process.on("SIGINT", stop).on("SIGTERM", stop);
  const code = await new Promise((done) => {
    child.once("error", (error) => done(error.message));
    child.once("close", (exit, signal) => done(exit ?? signal));
  });
  process.off("SIGINT", stop).off("SIGTERM", stop);
  stopProgress();
  if (code === "SIGINT" || code === "SIGTERM") process.exit(128 + constants.signals[code]);
  if (code !== 0) throw new Error(explainInstallFailure(typeof code === "string" ? `${output}\n${code}` : output));
  console.log(`Dependencies installed in ${Math.round((Date.now() - startedAt) / 1000)} s.`);
}

function isRecentEnough(version) {
  const parts = version.split(".").map(Number);
  const difference = OLDEST_OWN_NODE.map((part, index) => parts[index] - part).find((delta) => delta !== 0) ?? 0;
  return difference >= 0;
}

/** Node 24 from the dependencies, else this one if it will do. */
function findNode() {
  const platform = process.platform === "win32" ? "win" : process.platform;
  const file = process.platform === "win32" ? "node.exe" : "node";
  const packaged = join(MODULES, `node-${platform}-${process.arch}`, "bin", file);
  if (existsSync(packaged)) return packaged;
  if (isRecentEnough(process.versions.node)) return process.execPath;
  fail(
    `This is Node ${process.versions.node}, and npm has no newer one for ${process.platform} ${process.arch}. Install Node ${OLDEST_OWN_NODE.join(".")} or newer (24 is best) and run the command again.`,
  );
}

function resolveTarget([command, ...args]) {
  if (command in COMMANDS) {
    const [file, ...before] = COMMANDS[command];
    return { file: join(ROOT, file), args: [...before, ...args] };
  }
  if (command === "run" && args.length > 0) {
    const [name, ...rest] = args;
    if (name.endsWith(".ts")) return { file: resolve(ROOT, name), args: rest };
    return { file: join(MODULES, ".bin", name), args: rest };
  }
  fail(`Usage: node scripts/bootstrap.mjs ${Object.keys(COMMANDS).join(" | ")} | run <program or file.ts> [arguments]`);
}

function execute(node, { file, args }) {
  if (!existsSync(file)) fail(`There is no ${file}.`);
  const direct = file.endsWith(".ts");
  const child = spawn(direct ? node : file, direct ? [...NODE_FLAGS, file, ...args] : args, {
    cwd: ROOT,
    env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ""}` },
    // The channel's end tells the command that this process was killed, which no signal can.
    stdio: direct ? ["inherit", "inherit", "inherit", "ipc"] : "inherit",
    shell: !direct && process.platform === "win32",
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  if (process.env.npm_lifecycle_event !== undefined) {
    // npm is the parent (the scripts `exec`). When it is killed, nothing is left to stop this.
    const parent = process.ppid;
    setInterval(() => process.ppid !== parent && child.kill("SIGTERM"), 1_000).unref();
  }
  child.once("error", (error) => fail(`${file} could not be run: ${error.message}`));
  child.once("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}

const target = resolveTarget(process.argv.slice(2));
if (!isInstalled()) {
  try {
    await withInstallLock(install);
  } catch (error) {
    fail(error.message);
  }
}
execute(findNode(), target);
