import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeServer, listen } from "@agent-engine/testing/listening.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

interface DevFile {
  apiUrl: string;
  demoUrl: string;
  publishableKey: string;
  secretKey: string;
  adminEmail: string;
  adminPassword: string;
}

let folder: string;
let dataDir: string;
const started: RunningProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agent-engine-test-start-"));
  // As root, Postgres runs under another account, which must reach it.
  chmodSync(folder, 0o755);
  dataDir = join(folder, "data");
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((process) => process.stop()));
  rmSync(folder, { recursive: true, force: true });
});

function start(env: Record<string, string> = {}, ...args: string[]): RunningProcess {
  const process = startProcess({
    name: "npm start",
    args: ["scripts/bootstrap.mjs", "start", ...args],
    env: { DATA_DIR: dataDir, PORT: "0", DEMO_PORT: "0", ...env },
  });
  started.push(process);
  return process;
}

async function ready(process: RunningProcess): Promise<DevFile> {
  await process.waitForOutput(/Ctrl-C stops everything/, 60_000);
  return JSON.parse(readFileSync(join(dataDir, "dev.json"), "utf8")) as DevFile;
}

/** Signs in as the admin that was announced, and answers what they are. */
async function rolesAt({ apiUrl, adminEmail, adminPassword }: DevFile): Promise<string[]> {
  const answer = await fetch(`${apiUrl}/api/auth/sign-in/email`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: apiUrl },
    body: JSON.stringify({ email: adminEmail, password: adminPassword }),
  });
  const cookie = answer.headers
    .getSetCookie()
    .map((each) => each.split(";")[0])
    .join("; ");
  const me = (await (await fetch(`${apiUrl}/v1/me`, { headers: { cookie } })).json()) as {
    tenants: { role: string }[];
  };
  return me.tenants.map(({ role }) => role);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const postmaster = () => Number(readFileSync(join(dataDir, "postgres/data/postmaster.pid"), "utf8").split("\n")[0]);
const startPid = () => (JSON.parse(readFileSync(join(dataDir, "process.json"), "utf8")) as { pid: number }).pid;

/** Waits for the process to fail, and answers what it said. */
async function failure(process: RunningProcess): Promise<string> {
  const { code } = await process.exited;
  expect(code).toBe(1);
  expect(process.logs()).not.toMatch(/^\s+at /m);
  return process.logs();
}

describe("npm start", () => {
  test("stops within five seconds and leaves nothing; the second start keeps the data and is quick; --reset starts over", async () => {
    const first = start();
    const before = await ready(first);
    expect((await fetch(`${before.apiUrl}/readyz`)).status).toBe(200);
    expect((await fetch(before.demoUrl)).status).toBe(200);
    const pids = [postmaster(), startPid()];
    const stoppedAt = performance.now();
    first.signal("SIGINT");
    expect((await first.exited).code).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(5_000);
    expect(pids.filter(isAlive)).toEqual([]);

    const second = start();
    const after = await ready(second);
    const { publishableKey, secretKey, adminEmail, adminPassword } = before;
    expect(after).toMatchObject({ publishableKey, secretKey, adminEmail, adminPassword });
    expect(second.logs()).toContain(adminPassword);
    expect(await rolesAt(after)).toEqual(["owner"]);
    for (const url of [`${after.apiUrl}/readyz`, after.demoUrl]) expect((await fetch(url)).status).toBe(200);
    expect(Number(/Ready in ([\d.]+) s/.exec(second.logs())?.[1])).toBeLessThan(5);
    const refused = await failure(start());
    expect(refused).toContain(`already runs from ${dataDir}`);
    await second.stop();

    const third = start({ DEMO_ORIGINS: "http://localhost:8080/" }, "--reset");
    const anew = await ready(third);
    expect(anew.secretKey).not.toBe(before.secretKey);
    const openSessionFrom = async (origin: string) => {
      const body = JSON.stringify({ publishableKey: anew.publishableKey });
      const headers = { "content-type": "application/json", origin };
      return (await fetch(`${anew.apiUrl}/v1/visitor-sessions`, { method: "POST", headers, body })).status;
    };
    expect(await openSessionFrom("http://localhost:8080")).toBe(201);
    expect(await openSessionFrom("http://localhost:8081")).toBe(403);
  });

  test("a killed start leaves a database that the next one takes over; a killed bootstrap takes everything with it", async () => {
    const first = start();
    const before = await ready(first);
    const database = postmaster();
    process.kill(startPid(), "SIGKILL");
    await first.exited;
    expect(isAlive(database)).toBe(true);

    const second = start();
    expect((await ready(second)).secretKey).toBe(before.secretKey);
    expect(postmaster()).toBe(database);
    const pids = [database, startPid()];
    second.signal("SIGKILL");
    await waitFor(() => !pids.some(isAlive), { describe: "the start and its database to end" });
  });

  test("a database whose making was interrupted, and one that lost a file, are made anew", async () => {
    mkdirSync(join(dataDir, "postgres", "initialising", "base"), { recursive: true });
    const first = start();
    await ready(first);
    expect(first.logs()).toContain("interrupted while it created the database");
    await first.stop();

    renameSync(join(dataDir, "postgres/data/global/pg_control"), join(folder, "pg_control"));
    const second = start();
    await ready(second);
    expect(second.logs()).toContain("is incomplete. It was moved to");
  });
});

describe("npm start that cannot go on says why, in a line", () => {
  test("a taken port", async () => {
    const other = createServer();
    const port = await listen(other, 0);
    expect(await failure(start({ PORT: String(port) }))).toContain(`Port ${port} is taken by another program`);
    await closeServer(other);
  });

  test("a data folder that is a file", async () => {
    writeFileSync(dataDir, "not a folder");
    expect(await failure(start())).toContain(`DATA_DIR (${dataDir}) cannot be used: it is a file`);
  });

  test("a database that refuses, and one that never answers", async () => {
    const silent = createServer((socket) => socket.on("error", () => undefined).resume());
    const port = await listen(silent, 0);
    const startedAt = performance.now();
    const output = await failure(start({ DATABASE_URL: `postgres://owner:hunter2@127.0.0.1:${port}/agents` }));
    expect(output).toContain(`DATABASE_URL (127.0.0.1:${port}/agents) does not answer`);
    expect(output).not.toContain("hunter2");
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    await closeServer(silent);
    expect(await failure(start({ DATABASE_URL: `postgres://owner@127.0.0.1:${port}/agents` }))).toContain(
      "nothing listens there",
    );
  });

  test("a Redis that refuses, and one that never answers", async () => {
    const silent = createServer((socket) => socket.on("error", () => undefined).resume());
    const port = await listen(silent, 0);
    const startedAt = performance.now();
    const output = await failure(start({ REDIS_URL: `redis://:hunter2@127.0.0.1:${port}` }));
    expect(output).toContain(`REDIS_URL (127.0.0.1:${port}) does not answer`);
    expect(output).not.toContain("hunter2");
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    await closeServer(silent);
    expect(await failure(start({ REDIS_URL: `redis://127.0.0.1:${port}` }))).toContain("nothing listens there");
  });

  test("a bad variable, and production without what it needs", async () => {
    expect(await failure(start({ PORT: "http" }))).toContain("PORT must be a whole number");
    const output = await failure(start({ NODE_ENV: "production" }));
    for (const name of ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PUBLIC_URL"]) {
      expect(output).toContain(`${name} is required`);
    }
  });
});
