/**
 * DATA_DIR: what development keeps between two starts. It belongs to one process at a time where that process runs
 * the embedded database; separate roles with a database of their own may share it.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";
import { StartFailure, systemCode } from "./start-failure.ts";

/** @throws StartFailure when the folder cannot be made, read and written. */
export function prepareDataFolder(dataDir: string): void {
  const probe = join(dataDir, `.probe-${process.pid}`);
  try {
    mkdirSync(dataDir, { recursive: true });
    writeFileSync(probe, "readable");
    readFileSync(probe);
    rmSync(probe);
  } catch (error) {
    const reason: Record<string, string> = {
      EACCES: "this account may not write there",
      EPERM: "this account may not write there",
      EEXIST: "it is a file, not a folder",
      ENOTDIR: "a part of the path is a file, not a folder",
      EROFS: "the file system is read-only",
      ENOSPC: "the disk is full",
    };
    const code = systemCode(error) ?? "unknown error";
    throw new StartFailure(
      `DATA_DIR (${dataDir}) cannot be used: ${reason[code] ?? code}. Mend it, or set DATA_DIR to another folder.`,
      { cause: error },
    );
  }
}

/** Written to a temporary name first: a reader never sees half a file, nor does a crash leave one. */
function writePrivately(file: string, content: string): void {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, file);
}

/** The master key of this installation, made at the first start. */
export function keptSecretKey(dataDir: string): string {
  const file = join(dataDir, "secret-key");
  if (!existsSync(file)) writePrivately(file, `${randomBytes(32).toString("hex")}\n`);
  const key = readFileSync(file, "utf8").trim();
  if (key === "") throw new StartFailure(`${file} is empty. Delete it to have a new key made, or set SECRET_KEY.`);
  return key;
}

/** What scripts and people read to find a running development start. */
export interface DevFile {
  apiUrl: string;
  /** Null when the process serves no demo page (ROLE=server). */
  demoUrl: string | null;
  publishableKey: string;
  secretKey: string;
  tenantId: TenantId;
  agentId: AgentId;
  /** Who signs in to the console; absent when it is not known. */
  adminEmail?: string;
  adminPassword?: string;
}

/** What the last start wrote; null when there is none, or it is damaged. */
export function readDevFile(dataDir: string): DevFile | null {
  try {
    return JSON.parse(readFileSync(join(dataDir, "dev.json"), "utf8")) as DevFile;
  } catch {
    return null;
  }
}

export function writeDevFile(dataDir: string, content: DevFile): string {
  const file = join(dataDir, "dev.json");
  writePrivately(file, `${JSON.stringify(content, null, 2)}\n`);
  return file;
}

interface Owner {
  pid: number;
  /** When the process began, in clock ticks since boot; tells it from a later process with its number. */
  began: string | null;
}

function beganAt(pid: number): string | null {
  try {
    // Field 22, counted after the command's name, which may itself hold spaces and parentheses.
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

function isRunning(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if (systemCode(error) !== "EPERM") return false;
  }
  return owner.pid !== process.pid && beganAt(owner.pid) === owner.began;
}

/**
 * Takes the folder for this process; the answer gives it back.
 * @throws StartFailure when a running process has it.
 */
export function takeDataFolder(dataDir: string): () => void {
  const file = join(dataDir, "process.json");
  try {
    const owner = JSON.parse(readFileSync(file, "utf8")) as Owner;
    if (isRunning(owner)) {
      throw new StartFailure(
        `Agent Engine already runs from ${dataDir} (process ${owner.pid}). Stop it first, or set DATA_DIR to another folder.`,
      );
    }
  } catch (error) {
    if (error instanceof StartFailure) throw error;
    // Nobody had it, or a crash cut its file short.
  }
  writePrivately(file, JSON.stringify({ pid: process.pid, began: beganAt(process.pid) } satisfies Owner));
  return () => rmSync(file, { force: true });
}
