import type { Services } from "@agent-engine/core/context.ts";
import type { SubscribeAck } from "@agent-engine/protocol/realtime.ts";
import { toProblemError } from "../http/problem.ts";
import { contextOf, type Principal } from "../http/request.ts";
import type { Hub } from "./hub.ts";
import type { LiveConnections } from "./live-connections.ts";
import { SocketOutlet } from "./socket-outlet.ts";
import { roomOf, type RealtimeSocket } from "./socket.ts";
import { Subscriptions } from "./subscriptions.ts";
import { tellOfChanges } from "./tenant-changes.ts";
import { createTypingRelay } from "./typing.ts";

/** Longest delay a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface SocketServer {
  services: Services;
  hub: Hub;
  live: Pick<LiveConnections, "watch">;
}

/** Serves one admitted socket until it goes. */
export function serveSocket({ services, hub, live }: SocketServer, socket: RealtimeSocket): void {
  const { principal, correlationId } = socket.data;
  const log = services.log.child({ correlationId, tenantId: principal.tenantId, actor: principal.actor.kind });
  const ctx = contextOf(services, principal, correlationId);
  const outlet = new SocketOutlet(socket.conn);
  const subscriptions = new Subscriptions(
    ctx,
    hub,
    outlet,
    (conversationId) => void socket.leave(roomOf(conversationId)),
  );
  const startedAt = services.clock();
  log.info({ transport: socket.conn.transport.name }, "socket connected");

  async function subscribe(request: unknown, answer: (value: SubscribeAck) => void): Promise<void> {
    try {
      const { conversationId, lastSeq, release } = await subscriptions.subscribe(request);
      // A socket that has gone meanwhile would stay in the room for ever.
      if (!socket.connected) return;
      try {
        await socket.join(roomOf(conversationId));
      } catch (error) {
        // Nobody will be told, so nothing may be held for them.
        subscriptions.unsubscribe(request);
        throw error;
      }
      answer({ ok: true, lastSeq });
      release();
    } catch (error) {
      const { code, detail } = toProblemError(error);
      if (code === "internal" || code === "unavailable") log.error({ err: error }, "subscription failed");
      answer({ ok: false, error: { code, detail } });
    }
  }

  socket.on("subscribe", (request: unknown, ack: unknown) => {
    if (typeof ack === "function") void subscribe(request, (value) => void ack(value));
  });

  socket.on("unsubscribe", (request: unknown) => {
    try {
      subscriptions.unsubscribe(request);
    } catch (error) {
      log.debug({ err: error }, "malformed unsubscribe");
    }
  });

  socket.on("typing", createTypingRelay(socket, subscriptions, services));

  // Staff may list all of their tenant's conversations: the handshake has asked for that permission.
  const isStaff = principal.actor.kind !== "visitor";
  const stopTelling = isStaff ? tellOfChanges(services.bus, principal.tenantId, outlet) : () => {};

  const expiry = endWithCredential(socket, principal, services);
  const stopWatching = live.watch(principal, () => {
    log.info("socket's credential was revoked");
    sayGoodbye(socket, "Your session has ended. Get a new credential, then reconnect.");
  });
  socket.on("disconnect", (reason) => {
    clearTimeout(expiry);
    stopWatching();
    stopTelling();
    subscriptions.close();
    log.info({ reason, durationMs: services.clock() - startedAt }, "socket disconnected");
  });
}

/** A visitor's token ends after an hour; its socket ends with it, and comes back with a new token. */
function endWithCredential(
  socket: RealtimeSocket,
  principal: Principal,
  services: Services,
): NodeJS.Timeout | undefined {
  if (principal.expiresAt === null) return undefined;
  const delayMs = Math.min(Math.max(principal.expiresAt - services.clock(), 0), MAX_TIMER_MS);
  const timer = setTimeout(() => {
    sayGoodbye(socket, "The visitor token has ended. Open a new visitor session, then reconnect.");
  }, delayMs);
  return timer.unref();
}

function sayGoodbye(socket: RealtimeSocket, detail: string): void {
  socket.emit("closing", { code: "unauthenticated", retryable: true, detail });
  socket.disconnect(true);
}
