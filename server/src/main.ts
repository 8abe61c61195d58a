import { fileURLToPath } from "node:url";
import type { AddressInfo } from "node:net";
import type { Server as HttpServer } from "node:http";
import type { Duplex } from "node:stream";
import { createAdaptorServer } from "@hono/node-server";
import type { Config } from "@agent-engine/core/config/env.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { statement } from "@agent-engine/core/db/statement.ts";
import { headsOf } from "@agent-engine/core/events/heads.ts";
import { readEventPage } from "@agent-engine/core/events/read-events.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import { REALTIME_PATH } from "@agent-engine/protocol/realtime.ts";
import { isOriginKnown } from "@agent-engine/core/tenancy/is-origin-known.ts";
import { createApp } from "./app.ts";
import { composioAccess } from "@agent-engine/core/toolkits/composio-access.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { createJwksReader } from "@agent-engine/core/visitors/jwks.ts";
import { watchRevocations } from "@agent-engine/core/visitors/revocations.ts";
import { defaultRateLimits } from "@agent-engine/core/config/rate-limits.ts";
import { limitConnections } from "./limits/connections.ts";
import { createCounters } from "./limits/counters.ts";
import { createRateLimiter } from "./limits/rate-limiter.ts";
import { createTenantLimits } from "./limits/tenant-limits.ts";
import { createTrustedOrigins } from "./http/trusted-origins.ts";
import { createKnownOrigins } from "./http/known-origins.ts";
import { openGateway } from "./realtime/gateway.ts";
import { PAGE_BYTES } from "./realtime/reader.ts";
import { createHub, type Hub, type HubSize } from "./realtime/hub.ts";
import { createLiveConnections } from "./realtime/live-connections.ts";
import { createRedisAdapter } from "./realtime/redis-adapter.ts";

const WIDGET_DIRECTORY = fileURLToPath(new URL("../../widget/dist", import.meta.url));

const isThere = statement("is_there", "select 1");

/** Requests under way may finish; then their connections are closed. */
const FINISH_MS = 2_000;

/**
 * How long a client may take to send its request: what is slower holds a connection for nothing. Answers, streams and
 * sockets are not concerned.
 */
const RECEIVE = { headersMs: 10_000, requestMs: 30_000 };

export interface ServerOptions {
  services: Services;
  config: Pick<Config, "redisUrl" | "publicUrl"> &
    Partial<Pick<Config, "trustedProxyHops" | "nodeEnv" | "rateLimits" | "composio">>;
  /** 0 picks a free one. */
  port: number;
  receive?: typeof RECEIVE;
}

export interface RunningServer {
  url: string;
  port: number;
  /** What this server's hub delivers to right now. */
  readers(): HubSize;
  /** Tells sockets and streams, lets requests finish, closes the rest. Within 5 s. */
  stop(): Promise<void>;
}

/** Starts HTTP, sockets and the hub on one port. Rejects with a clear message when the port is taken. */
export async function startServer({
  services,
  config,
  port,
  receive = RECEIVE,
}: ServerOptions): Promise<RunningServer> {
  const { log, clock } = services;
  const revocations = await watchRevocations(services);
  const hub = openHub(services);
  const isKnownOrigin = createKnownOrigins((patterns) => isOriginKnown(services, patterns), clock);
  const redis = config.redisUrl === null ? null : createRedisAdapter(config.redisUrl, log);
  const live = createLiveConnections(revocations, log);
  const limits = config.rateLimits ?? defaultRateLimits("test");
  const limitsOf = createTenantLimits(services);
  const counters = createCounters({ redisUrl: config.redisUrl, log, clock });
  const limiter = createRateLimiter({ counters, limits, limitsOf });
  const connections = limitConnections({ live, limits, limitsOf });
  const trustedProxyHops = config.trustedProxyHops ?? 0;
  // A developer's own keys lie on their own machine; a customer's never do.
  const egress = createEgress({ allowLoopback: config.nodeEnv === "development" || config.nodeEnv === "test" });
  const stopWatching = () => {
    counters.close();
    return Promise.all([live.stop(), revocations.stop(), egress.close()]);
  };
  const apiUrl = () => config.publicUrl ?? `http://localhost:${(http.address() as AddressInfo).port}`;
  const trustedOrigins = createTrustedOrigins(() => [apiUrl(), services.accounts.consoleUrl]);
  const app = createApp({
    services,
    events: { hub, clock, live: connections },
    revocations,
    limiter,
    connections,
    jwks: createJwksReader(egress),
    kinds: { egress, composio: composioAccess(config), now: clock, log },
    composioWebhookSecret: config.composio?.webhookSecret ?? null,
    isKnownOrigin,
    readiness: {
      postgres: {
        ask: async () => void (await services.db.query(isThere, [])),
        isRequired: true,
        whenAway: "Requests are answered 503. Check that Postgres runs and that DATABASE_URL is right.",
      },
      ...(redis
        ? {
            redis: {
              ask: () => redis.ping(),
              isRequired: false,
              whenAway:
                "Sockets are refused and readers ask Postgres; messages and runs go on. Check that Redis runs and that REDIS_URL is right.",
            },
          }
        : {}),
    },
    publicUrl: config.publicUrl,
    apiUrl,
    trustedOrigins,
    trustedProxyHops,
    widgetDirectory: WIDGET_DIRECTORY,
  });
  const http = createAdaptorServer({ fetch: app.fetch, serverOptions: receiving(receive) }) as HttpServer;
  const gateway = await openGateway({
    http,
    services,
    hub,
    isKnownOrigin,
    trustedOrigins,
    revocations,
    connections,
    limiter,
    trustedProxyHops,
    redis,
  });
  http.on("upgrade", refuseOtherUpgrades);
  try {
    await listen(http, port);
  } catch (error) {
    hub.close();
    await gateway.disconnect();
    await gateway.close();
    await stopWatching();
    redis?.close();
    throw error;
  }
  const address = http.address() as AddressInfo;
  return {
    port: address.port,
    url: `http://localhost:${address.port}`,
    readers: () => hub.size,
    async stop() {
      hub.close();
      await gateway.disconnect();
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      http.closeIdleConnections();
      const giveUp = setTimeout(() => {
        http.closeAllConnections();
        // A Redis that does not answer would keep the adapter waiting for its last commands.
        redis?.close();
      }, FINISH_MS);
      await Promise.all([closed, gateway.close()]);
      clearTimeout(giveUp);
      await stopWatching();
      redis?.close();
    },
  };
}

function openHub(services: Services): Hub {
  return createHub({
    bus: services.bus,
    readLog: ({ tenantId, conversationId, runId, after, limit }) =>
      readEventPage(
        { services, tenantId: tenantId as TenantId },
        { conversationId, after, limit, maxBytes: PAGE_BYTES, ...(runId === null ? {} : { runId }) },
      ),
    readHeads: (conversationIds) => headsOf(services, conversationIds),
    onError: (what, error) => services.log.warn({ err: error }, what),
  });
}

function receiving({ headersMs, requestMs }: typeof RECEIVE) {
  return {
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: Math.min(1_000, headersMs),
  };
}

/** Without this an upgrade on an unknown path hangs, and keeps the server from closing. */
function refuseOtherUpgrades(request: { url?: string | undefined }, socket: Duplex): void {
  if (request.url?.startsWith(`${REALTIME_PATH}/`)) return;
  socket.on("error", () => {});
  socket.end("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", () => socket.destroy());
}

function listen(http: HttpServer, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    http.once("error", (error: NodeJS.ErrnoException) => reject(clearListenError(error, port)));
    http.listen(port, () => {
      http.removeAllListeners("error");
      resolve();
    });
  });
}

function clearListenError(error: NodeJS.ErrnoException, port: number): Error {
  switch (error.code) {
    case "EADDRINUSE":
      return new Error(`Port ${port} is taken. Stop what uses it, or set PORT to another one (0 picks a free one).`, {
        cause: error,
      });
    case "EACCES":
      return new Error(`This user may not listen on port ${port}. Set PORT to one above 1023.`, { cause: error });
    default:
      return error;
  }
}
