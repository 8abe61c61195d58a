/**
 * The composition root: opens the services and starts what the role asks for, all in this process. Each role's code is
 * loaded only where it runs: a worker needs no HTTP server, a server no model providers.
 */
import type { Logger } from "pino";
import type { Config } from "@agent-engine/core/config/env.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import { sealOpenSettings } from "@agent-engine/core/agents/seal-open-settings.ts";
import { checkMasterKeys } from "@agent-engine/core/secrets/check-master-keys.ts";
import { openServices } from "@agent-engine/core/services.ts";
import { resolvePublishableKey } from "@agent-engine/core/tenancy/resolve-publishable-key.ts";
import type { RunningServer } from "@agent-engine/server/main.ts";
import type { RunningWorker } from "@agent-engine/worker/main.ts";
import { readDevFile } from "./data-folder.ts";
import { startDemoSite } from "./demo-site.ts";
import type { DemoTenant, Served } from "./served.ts";

export interface ServeConfig extends Config {
  databaseUrl: string;
}

/** Starts the role's parts; rejects, with everything closed again, when one cannot start. */
export async function serve(config: ServeConfig, { log }: { log: Logger }): Promise<Served> {
  const services = await openServices(config, config.databaseUrl, log);
  const parts: { stop(): Promise<void> }[] = [];
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await Promise.allSettled(parts.map((part) => part.stop()));
      await services.close();
    })();
    return stopping;
  };
  try {
    await checkMasterKeys(services);
    await sealOpenSettings(services);
    let server: RunningServer | null = null;
    let worker: RunningWorker | null = null;
    let demo: DemoTenant | null = null;
    let demoUrl: string | null = null;
    if (config.role !== "worker") {
      const { startServer } = await import("@agent-engine/server/main.ts");
      server = await startServer({ services, config, port: config.port });
      parts.push(server);
      if (config.nodeEnv !== "production") {
        const { ensureDemo } = await import("@agent-engine/core/demo/ensure-demo.ts");
        demo = await ensureDemo(services, readDevFile(config.dataDir));
      }
    }
    if (config.role !== "server") {
      const { startWorker } = await import("@agent-engine/worker/main.ts");
      worker = await startWorker({ services, config, stall: config.modelSilence });
      parts.unshift(worker);
    }
    const apiUrl = server && (config.publicUrl ?? server.url);
    if (config.role === "all" && demo && apiUrl) {
      const site = await startDemoSite({ port: config.demoPort, apiUrl, publishableKey: demo.publishableKey, log });
      parts.push(site);
      demoUrl = site.url;
      // The page may be opened by either name of this machine, and its port may be another one today.
      const { port } = new URL(site.url);
      const origins = [`http://localhost:${port}`, `http://127.0.0.1:${port}`, ...config.demoOrigins];
      await allowDemoOrigins(services, demo.publishableKey, origins);
    }
    return { apiUrl, demoUrl, demo, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function allowDemoOrigins(
  services: Ctx["services"],
  publishableKey: string,
  origins: readonly string[],
): Promise<void> {
  const { allowOrigin } = await import("@agent-engine/core/sites/allow-origin.ts");
  const site = await resolvePublishableKey(services, publishableKey);
  if (!site) return;
  const ctx: Ctx = { services, tenantId: site.tenantId, actor: { kind: "worker" }, correlationId: "start" };
  for (const origin of origins) await allowOrigin(ctx, { siteId: site.siteId, origin });
}
