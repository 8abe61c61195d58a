import type { OpenAPIHono } from "@hono/zod-openapi";
import type { AppEnv } from "../http/request.ts";

/** One dependency's check: resolves when it answers. */
export type ReadinessCheck = () => Promise<void>;

const CHECK_TIMEOUT_MS = 2_000;

/** `/healthz`: the process runs. `/readyz`: it can serve; 503 names what is missing. */
export function healthRoutes(app: OpenAPIHono<AppEnv>, checks: Record<string, ReadinessCheck>): void {
  app.get("/healthz", (c) => {
    c.set("route", "/healthz");
    c.header("cache-control", "no-store");
    return c.json({ status: "ok" });
  });

  app.get("/readyz", async (c) => {
    const results = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => [name, await outcome(check)] as const),
    );
    c.set("route", "/readyz");
    const isReady = results.every(([, result]) => result === "ok");
    c.header("cache-control", "no-store");
    return c.json({ status: isReady ? "ok" : "unavailable", checks: Object.fromEntries(results) }, isReady ? 200 : 503);
  });
}

/** A reason that says nothing of hosts or credentials: the log has those. */
async function outcome(check: ReadinessCheck): Promise<"ok" | "does not answer"> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("late")), CHECK_TIMEOUT_MS);
  });
  try {
    await Promise.race([check(), late]);
    return "ok";
  } catch {
    return "does not answer";
  } finally {
    clearTimeout(timer);
  }
}
