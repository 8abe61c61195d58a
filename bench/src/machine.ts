import { execFileSync } from "node:child_process";
import { availableParallelism, cpus, totalmem } from "node:os";
import { requireProgram } from "@agent-engine/testing/programs.ts";
import pg from "pg";

/** What figures depend on; nothing that names the machine or its owner. */
export interface Machine {
  cores: number;
  processor: string;
  memoryGb: number;
  platform: string;
  node: string;
  postgres: string;
  redis: string;
}

export async function describeMachine(databaseUrl: string): Promise<Machine> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<{ server_version: string; fsync: string; commit: string }>(
      "select current_setting('server_version') as server_version, current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit",
    );
    const row = rows[0];
    return {
      cores: availableParallelism(),
      processor: cpus()[0]?.model ?? "unknown",
      memoryGb: Math.round(totalmem() / 2 ** 30),
      platform: `${process.platform} ${process.arch}`,
      node: process.version,
      postgres: `${row?.server_version} (fsync ${row?.fsync}, synchronous_commit ${row?.commit})`,
      redis:
        /v=(\S+)/.exec(execFileSync(requireProgram("redis"), ["--version"], { encoding: "utf8" }))?.[1] ?? "unknown",
    };
  } finally {
    await client.end();
  }
}
