import type { Services } from "@agent-engine/core/context.ts";
import { notFound, ProblemError } from "@agent-engine/core/errors.ts";
import { resolveSession, type Membership, type Session } from "@agent-engine/core/members/resolve-session.ts";
import { hasSessionCookie } from "@agent-engine/core/members/session-cookie.ts";
import type { AppContext, Principal } from "./request.ts";
import type { TrustedOrigins } from "./trusted-origins.ts";

/** Which of their tenants a member's request speaks for. */
export const TENANT_HEADER = "x-tenant-id";

/** True when a request speaks for a member: it brings a session's cookie, and no other credential. */
export function isMembers(services: Services, c: AppContext): boolean {
  return (
    c.req.header("authorization") === undefined && hasSessionCookie(services.accounts.isSecure, c.req.header("cookie"))
  );
}

/**
 * Who is signed in; null when nobody is. Browsers send cookies with whatever page asks, so a page's origin must be one
 * of ours, and what changes something must name its origin.
 */
export async function sessionOf(services: Services, trusted: TrustedOrigins, c: AppContext): Promise<Session | null> {
  const cookie = c.req.header("cookie");
  if (!hasSessionCookie(services.accounts.isSecure, cookie)) return null;
  checkOrigin(trusted, c);
  return resolveSession(services, cookie);
}

/** Throws `origin_not_allowed` when a page that is not ours, or nobody knows which, asks with a cookie. */
export function checkOrigin(trusted: TrustedOrigins, c: AppContext): void {
  const origin = c.req.header("origin");
  if (origin === undefined ? ["GET", "HEAD"].includes(c.req.method) : trusted.has(origin)) return;
  throw new ProblemError(
    "origin_not_allowed",
    "With a session cookie, requests must come from the console's or the API's own origin (CONSOLE_URL, PUBLIC_URL), and name it in `Origin`.",
  );
}

export function signedOut(): ProblemError {
  return new ProblemError("unauthenticated", "You are not signed in, or your session has ended. Sign in again.");
}

/** The member a request speaks for, in the tenant it chose. */
export async function authenticateMember(
  services: Services,
  trusted: TrustedOrigins,
  c: AppContext,
): Promise<Principal> {
  const session = await sessionOf(services, trusted, c);
  if (!session) throw signedOut();
  const { tenantId, memberId, role } = membershipOf(session, c);
  const cookie = c.req.header("cookie");
  return {
    tenantId,
    actor: { kind: "member", memberId, userId: session.user.id, role },
    expiresAt: session.expiresAt,
    origin: null,
    lasting: {
      key: `${cookie} ${memberId}`,
      stillHolds: async () => {
        const now = await resolveSession(services, cookie);
        return now?.memberships.some((each) => each.memberId === memberId && each.role === role) ?? false;
      },
    },
  };
}

/** As whom a request speaks; throws what to do where that is not clear. */
export function membershipOf(session: Session, c: AppContext): Membership {
  const membership = chooseMembership(session, c);
  if (membership) return membership;
  throw session.memberships.length === 0
    ? new ProblemError("forbidden", "You are a member of no tenant. Ask one of its admins for an invitation.")
    : new ProblemError(
        "invalid_request",
        "You are a member of several tenants. Choose one with the header `X-Tenant-Id`; `GET /v1/me` lists them.",
      );
}

/** By the header; without it the only one there is, or null. A tenant that is not theirs is one that is not there. */
export function chooseMembership({ memberships }: Session, c: AppContext): Membership | null {
  const wanted = c.req.header(TENANT_HEADER);
  if (wanted === undefined) return memberships.length === 1 ? (memberships[0] ?? null) : null;
  const chosen = memberships.find(({ tenantId }) => tenantId === wanted);
  if (!chosen) throw notFound("tenant");
  return chosen;
}
