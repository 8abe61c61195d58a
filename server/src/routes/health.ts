import type { OpenAPIHono } from "@hono/zod-openapi";
import type { AppEnv } from "../http/request.ts";

/** One dependency's check. */
export interface ReadinessCheck {
  /** Resolves when it answers. */
  ask: () => Promise<void>;
  /** Without it no request can be answered; of others a server can do without for a while. */
  isRequired: boolean;
  /** What its absence means, and what to do: for whoever asks why. */
  whenAway: string;
}

const CHECK_TIMEOUT_MS = 2_000;

/**
 * `/healthz`: the process runs. `/readyz`: it can serve; 503 when something required is missing. A server that can do
 * most of its work is not taken from its balancer: it answers 200, `degraded`. Both say what is missing and what to do.
 */
export function healthRoutes(app: OpenAPIHono<AppEnv>, checks: Record<string, ReadinessCheck>): void {
  app.get("/healthz", (c) => {
    c.set("route", "/healthz");
    c.header("cache-control", "no-store");
    return c.json({ status: "ok" });
  });

  app.get("/readyz", async (c) => {
    const results = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => ({ name, check, isThere: await answers(check) })),
    );
    c.set("route", "/readyz");
    c.header("cache-control", "no-store");
    const missing = results.filter(({ isThere }) => !isThere);
    const isReady = missing.every(({ check }) => !check.isRequired);
    const status = missing.length === 0 ? "ok" : isReady ? "degraded" : "unavailable";
    const outcomes = results.map(({ name, isThere }) => [name, isThere ? "ok" : "does not answer"] as const);
    const detail = missing.map(({ check }) => check.whenAway).join(" ");
    return c.json(
      { status, checks: Object.fromEntries(outcomes), ...(detail === "" ? {} : { detail }) },
      isReady ? 200 : 503,
    );
  });
}

/** Why it does not is not told: the log knows hosts and reasons. */
async function answers({ ask }: ReadinessCheck): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(resolve, CHECK_TIMEOUT_MS, false)));
  try {
    return await Promise.race([ask().then(() => true), late]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
