/** The containers' health check: exit code 0 when the process of this role is ready to work. */
import { loadConfig } from "@agent-engine/core/config/env.ts";
import { isMarkedAlive } from "./liveness.ts";

const TIMEOUT_MS = 3_000;

async function isHealthy(): Promise<boolean> {
  const { port, role } = loadConfig();
  if (role === "worker") return isMarkedAlive(role);
  const response = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return response.ok;
}

process.exitCode = (await isHealthy().catch(() => false)) ? 0 : 1;
