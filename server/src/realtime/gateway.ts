import type { Server as HttpServer } from "node:http";
import { Server } from "socket.io";
import type { Services } from "@agent-engine/core/context.ts";
import { REALTIME_PATH, type RealtimeRefusal } from "@agent-engine/protocol/realtime.ts";
import type { Authority } from "../http/authenticate.ts";
import type { IsKnownOrigin } from "../http/known-origins.ts";
import { toProblemError } from "../http/problem.ts";
import { SECURITY_HEADERS } from "../http/security-headers.ts";
import { correlationIdOf } from "../http/request.ts";
import { handshake } from "./handshake.ts";
import type { Hub } from "./hub.ts";
import type { TrustedOrigins } from "../http/trusted-origins.ts";
import { addressBehind } from "../http/client-address.ts";
import type { LimitedConnections } from "../limits/connections.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";
import type { RedisAdapter } from "./redis-adapter.ts";
import { toRefusal, UNAVAILABLE } from "./refusal.ts";
import { serveSocket } from "./serve-socket.ts";
import { roomOf, type RealtimeServer, type RealtimeSocket } from "./socket.ts";

const MAX_PACKET_BYTES = 16 * 1024;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** What sockets get to read the goodbye. */
const GOODBYE_MS = 1_000;

export interface GatewayOptions {
  http: HttpServer;
  services: Services;
  hub: Hub;
  isKnownOrigin: IsKnownOrigin;
  /** Whose pages members connect from. */
  trustedOrigins: Pick<TrustedOrigins, "has">;
  revocations: Authority["revocations"];
  connections: Pick<LimitedConnections, "check" | "watch">;
  limiter: RateLimiter;
  trustedProxyHops: number;
  /** Null in a single process. */
  redis: RedisAdapter | null;
}

export interface Gateway {
  /** Tells every socket that this server stops, and closes it. */
  disconnect(): Promise<void>;
  /** Stops accepting connections; resolves once the last one of the http server has closed. */
  close(): Promise<void>;
}

/** The Socket.IO gateway: checks handshakes, and opens readers on the hub. Commands go over HTTP, never here. */
export async function openGateway({
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
}: GatewayOptions): Promise<Gateway> {
  // A socket that asks for an upgrade is no longer watched by Node and not yet by Socket.IO, which looks up its origin
  // first: a reset in between would be nobody's error, and end the process.
  http.on("upgrade", (_request, socket) => socket.on("error", () => {}));
  const io: RealtimeServer = new Server(http, {
    path: REALTIME_PATH,
    serveClient: false,
    transports: ["websocket", "polling"],
    // Tokens come one by one: compressing them costs memory and delay and saves little.
    perMessageDeflate: false,
    maxHttpBufferSize: MAX_PACKET_BYTES,
    connectTimeout: HANDSHAKE_TIMEOUT_MS,
    destroyUpgrade: false,
    // For polling only: CORS does not hold WebSockets back, the handshake does.
    cors: {
      origin: answerOrigin(isKnownOrigin, trustedOrigins),
      methods: ["GET", "POST"],
      allowedHeaders: ["x-request-id"],
    },
    ...(redis ? { adapter: redis.adapter } : {}),
  });

  // Polling's answers do not pass the API's middleware.
  io.engine.on("headers", (headers: Record<string, string>) => {
    Object.assign(headers, SECURITY_HEADERS.data, { "cache-control": "no-store" });
  });

  async function admit(socket: RealtimeSocket, next: (error?: Error) => void): Promise<void> {
    const { headers, auth } = socket.handshake;
    const requestId = headers["x-request-id"];
    const correlationId = correlationIdOf(typeof requestId === "string" ? requestId : null);
    try {
      const request = { token: auth["token"], origin: headers.origin, connections: io.engine.clientsCount };
      const forwarded = headers["x-forwarded-for"];
      const address = addressBehind(
        socket.handshake.address,
        Array.isArray(forwarded) ? forwarded.join(",") : forwarded,
        trustedProxyHops,
      );
      await limiter.admitAddress("read", address);
      const principal = await handshake({ services, revocations, isKnownOrigin, trustedOrigins }, request);
      principal.address = address;
      await limiter.admitCaller("read", principal);
      connections.check(principal);
      socket.data = { principal, correlationId };
    } catch (error) {
      const refusal = toRefusal(error);
      const isOurs = ["internal", "unavailable"].includes(toProblemError(error).code);
      services.log.info({ correlationId, code: refusal.data.code, err: isOurs ? error : undefined }, "socket refused");
      next(refusal);
      return;
    }
    next();
  }

  io.use((socket, next) => void admit(socket, next));
  io.on("connection", (socket) => serveSocket({ services, hub, live: connections }, socket));
  const stopHints = await services.bus.control.subscribe((message) => {
    if (message.kind === "hint") io.local.to(roomOf(message.hint.conversationId)).emit("hint", message.hint);
  });

  function sayGoodbye(reason: RealtimeRefusal): void {
    io.local.emit("closing", reason);
    io.local.disconnectSockets(true);
  }

  // A socket that stays open and shows nothing would be worse than none: its reader goes on over SSE or by asking.
  const stopWatching = services.bus.onHealth((isHealthy) => {
    if (!isHealthy) sayGoodbye(UNAVAILABLE);
  });

  return {
    async disconnect() {
      stopWatching();
      stopHints();
      sayGoodbye(restarting);
      await waitUntil(() => io.engine.clientsCount === 0, GOODBYE_MS);
    },
    close: () => io.close(),
  };
}

const restarting: RealtimeRefusal = {
  code: "realtime_unavailable",
  retryable: true,
  detail: "This server is restarting. Reconnect, and subscribe from your cursor.",
};

/** The origin check of polling's answers, in the form that the `cors` package takes. */
function answerOrigin(isKnownOrigin: IsKnownOrigin, trusted: Pick<TrustedOrigins, "has">) {
  return (origin: string | undefined, answer: (error: Error | null, allowed: string | false) => void): void => {
    const settle = (isKnown: boolean) => answer(null, isKnown && origin !== undefined ? origin : false);
    if (origin !== undefined && trusted.has(origin)) return settle(true);
    isKnownOrigin(origin).then(settle, () => settle(false));
  };
}

async function waitUntil(isDone: () => boolean, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!isDone() && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
}
