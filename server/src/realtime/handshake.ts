import { isAllowed } from "@agent-engine/core/members/permissions.ts";
import { authenticate, type Authority } from "../http/authenticate.ts";
import type { IsKnownOrigin } from "../http/known-origins.ts";
import { authenticateSocket, isRealtimeToken } from "../http/authenticate-socket.ts";
import type { Principal } from "../http/request.ts";
import type { TrustedOrigins } from "../http/trusted-origins.ts";
import { HandshakeRefused, UNAVAILABLE } from "./refusal.ts";

/** About 50 KB each: what one server holds before others should take over. */
const MAX_CONNECTIONS = 20_000;

export interface HandshakeRequest {
  token: unknown;
  /** The `Origin` header: a page cannot forge it, everybody else can leave it out. */
  origin: string | undefined;
  connections: number;
}

/**
 * Who connects; throws why not. A visitor's token must come from the origin it was made for, and a site must still allow
 * that origin. Without the bus a socket would look alive and show nothing, so it is refused with a clear status.
 */
export async function handshake(
  {
    isKnownOrigin,
    trustedOrigins,
    ...authority
  }: Authority & {
    isKnownOrigin: IsKnownOrigin;
    trustedOrigins: Pick<TrustedOrigins, "has">;
  },
  { token, origin, connections }: HandshakeRequest,
): Promise<Principal> {
  if (!authority.services.bus.isHealthy()) {
    throw new HandshakeRefused(UNAVAILABLE.code, UNAVAILABLE.detail);
  }
  if (connections > MAX_CONNECTIONS) {
    throw new HandshakeRefused(
      "realtime_unavailable",
      "This server has all the connections it can hold. Try again shortly.",
    );
  }
  if (typeof token !== "string" || token === "" || token.length > 8_192) {
    throw new HandshakeRefused(
      "unauthenticated",
      "Connect with `auth: { token }`: a visitor token, a secret key, or a member's realtime token.",
    );
  }
  const principal = isRealtimeToken(token)
    ? await authenticateSocket(authority.services, trustedOrigins, token, origin)
    : await authenticate(authority, token, origin);
  const { actor } = principal;
  if (actor.kind !== "visitor" && !isAllowed(actor, "conversations:read")) {
    throw new HandshakeRefused("unauthenticated", "This credential lacks the permission `conversations:read`.");
  }
  if (principal.origin !== null && origin !== undefined && !(await isKnownOrigin(origin))) {
    throw new HandshakeRefused(
      "origin_not_allowed",
      "No site allows this origin any more. Add it to the site's allowed origins.",
    );
  }
  return principal;
}
