import type { Services } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { isAllowed, type Permission } from "@agent-engine/core/members/permissions.ts";
import { resolveApiKey } from "@agent-engine/core/tenancy/resolve-api-key.ts";
import type { Revocations } from "@agent-engine/core/visitors/revocations.ts";
import { verifyVisitorToken } from "@agent-engine/core/visitors/visitor-token.ts";
import { parseOrigin } from "@agent-engine/core/sites/origin.ts";
import type { Principal } from "./request.ts";

/** Who may call a route: secret keys with this scope, members whose role has it, and visitors where it says so. */
export interface Access {
  scope: Permission;
  visitor: boolean;
}

/** What credentials are checked with. */
export interface Authority {
  services: Services;
  revocations: Pick<Revocations, "isRevoked">;
}

/** Reads `Authorization: Bearer …`; throws `unauthenticated` when there is none. */
export function bearerOf(header: string | null | undefined): string {
  const [, token] = /^Bearer +([\x21-\x7e]{1,8192}) *$/i.exec(header ?? "") ?? [];
  if (token) return token;
  throw new ProblemError(
    "unauthenticated",
    "Send `Authorization: Bearer …` with a secret key (`sk_…`) or a visitor token.",
  );
}

/**
 * Checks a credential. A visitor's token is bound to the origin it was made for: a request that names another origin is
 * refused; one that names none (a server, curl) is not a page and needs no origin.
 */
export async function authenticate(
  { services, revocations }: Authority,
  token: string,
  originHeader: string | null | undefined,
): Promise<Principal> {
  if (token.startsWith("sk_")) return authenticateSecretKey(services, token);
  if (token.startsWith("pk_")) {
    throw new ProblemError(
      "unauthenticated",
      "A publishable key opens nothing but `POST /v1/visitor-sessions`. Use the visitor token from there.",
    );
  }
  const claims = await verifyVisitorToken(services.secrets, token, services.clock());
  if (originHeader != null && parseOrigin(originHeader) !== claims.origin) {
    throw new ProblemError("origin_not_allowed", "This visitor token was made for another origin. Open a new session.");
  }
  if (revocations.isRevoked(claims)) {
    throw new ProblemError("unauthenticated", "This visitor's session has ended. Open a new visitor session.");
  }
  return {
    tenantId: claims.tenantId,
    actor: { kind: "visitor", visitorId: claims.visitorId, siteId: claims.siteId, agentId: claims.agentId },
    expiresAt: claims.expiresAt,
    origin: claims.origin,
    visitor: claims,
  };
}

async function authenticateSecretKey(services: Services, key: string): Promise<Principal> {
  const resolved = await resolveApiKey(services, key);
  if (!resolved) {
    throw new ProblemError("unauthenticated", "This secret key is unknown, revoked or expired. Make a new one.");
  }
  const { tenantId, apiKeyId, scopes } = resolved;
  return {
    tenantId,
    actor: { kind: "secret_key", apiKeyId, scopes },
    expiresAt: null,
    origin: null,
    lasting: { key, stillHolds: async () => (await resolveApiKey(services, key)) !== null },
  };
}

/** Throws `forbidden` when the credential is good but may not do this. */
export function authorize({ actor }: Principal, access: Access): void {
  switch (actor.kind) {
    case "visitor":
      if (access.visitor) return;
      throw new ProblemError("forbidden", "A visitor may not do this. Use a secret key, from your server.");
    case "secret_key":
      if (isAllowed(actor, access.scope)) return;
      throw new ProblemError("forbidden", `This secret key lacks the scope \`${access.scope}\`.`);
    case "member":
      if (isAllowed(actor, access.scope)) return;
      throw new ProblemError(
        "forbidden",
        `Your role (${actor.role}) may not do this: it lacks \`${access.scope}\`. Ask an admin of the tenant.`,
      );
    default:
      throw new ProblemError("forbidden", "This credential may not call the API.");
  }
}
