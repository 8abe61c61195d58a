import type { Services } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import {
  memberOfSession,
  REALTIME_TOKEN_PREFIX,
  verifyRealtimeToken,
} from "@agent-engine/core/members/realtime-token.ts";
import type { Principal } from "./request.ts";
import type { TrustedOrigins } from "./trusted-origins.ts";

export const isRealtimeToken = (token: string): boolean => token.startsWith(REALTIME_TOKEN_PREFIX);

/**
 * A member's socket. A page that is not ours could hold a token only by having stolen it; it is refused all the same. The
 * connection ends when the session does, or the member's role is another.
 */
export async function authenticateSocket(
  services: Services,
  trusted: Pick<TrustedOrigins, "has">,
  token: string,
  origin: string | undefined,
): Promise<Principal> {
  if (origin !== undefined && !trusted.has(origin)) {
    throw new ProblemError(
      "origin_not_allowed",
      "A member connects from the console's or the API's own origin only (CONSOLE_URL, PUBLIC_URL).",
    );
  }
  const { tenantId, memberId, userId, role, sessionId, expiresAt } = await verifyRealtimeToken(services, token);
  return {
    tenantId,
    actor: { kind: "member", memberId, userId, role },
    expiresAt,
    origin: null,
    lasting: {
      key: `${sessionId} ${memberId}`,
      stillHolds: async () => (await memberOfSession(services, { sessionId, memberId }))?.role === role,
    },
  };
}
