import type { Actor, Services } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { idempotent } from "@agent-engine/core/idempotency/idempotent.ts";
import { resolvePublishableKey, type ResolvedSite } from "@agent-engine/core/tenancy/resolve-publishable-key.ts";
import { readIdentityKeys } from "@agent-engine/core/sites/read-identity-keys.ts";
import { verifyIdentityToken } from "@agent-engine/core/visitors/identity-token.ts";
import type { JwksReader } from "@agent-engine/core/visitors/jwks.ts";
import type { Revocations } from "@agent-engine/core/visitors/revocations.ts";
import { passChallenge } from "@agent-engine/core/visitors/challenge.ts";
import { openVisitorSession, type EarlierSession } from "@agent-engine/core/visitors/open-visitor-session.ts";
import {
  signVisitorToken,
  verifyVisitorToken,
  VISITOR_TOKEN_RENEWAL_SECONDS,
} from "@agent-engine/core/visitors/visitor-token.ts";
import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import type { VisitorSession } from "@agent-engine/protocol/resources.ts";
import { getConnInfo } from "@hono/node-server/conninfo";
import type { Context } from "hono";
import { visitorSessionRequest } from "@agent-engine/protocol/schemas/requests.ts";
import type { Api } from "../http/api.ts";
import { isOriginAllowed, parseOrigin } from "@agent-engine/core/sites/origin.ts";
import { visitorSessionSchema } from "../openapi/schemas.ts";

/** Nobody is known yet: the session is opened by the platform itself, in the site's tenant. */
const PLATFORM: Actor = { kind: "worker" };

export interface VisitorSessionDeps {
  jwks: JwksReader;
  revocations: Pick<Revocations, "refresh">;
}

export function visitorSessionRoutes(api: Api, services: Services, { jwks, revocations }: VisitorSessionDeps): void {
  api.public(
    {
      method: "post",
      path: "/v1/visitor-sessions",
      tag: "Visitors",
      summary: "Open a visitor session",
      description:
        "The only route a publishable key opens. Called by a page on one of the site's allowed origins; the token works from there only, for an hour. Send the last `visitorToken`, even an ended one, to stay the same visitor; with an `identityToken` of your server to become who it names, with what was said before; with `reset` to end that session and be somebody new. A site may ask for a proof of work before it lets a new anonymous visitor in: 403 `challenge_required` says which, in `challenge` and `difficulty`.",
      body: visitorSessionRequest,
      rate: "session",
      status: 201,
      answer: visitorSessionSchema,
    },
    async (c, body, { countFor }) => {
      const site = await resolvePublishableKey(services, body.publishableKey);
      if (!site) {
        throw new ProblemError(
          "unauthenticated",
          "There is no site with this publishable key (`pk_…`). Check the script tag.",
        );
      }
      const origin = allowedOrigin(site, c.req.header("origin"));
      const { tenantId, siteId, challenge: proof } = site;
      await countFor(tenantId);
      const platform = { services, tenantId, actor: PLATFORM, correlationId: c.get("correlationId") };
      const earlier = await earlierSession(services, site, body.visitorToken);
      // Before the transaction: the customer's keys may have to be fetched.
      const identity =
        body.identityToken === undefined
          ? null
          : await verifyIdentityToken(
              body.identityToken,
              { keys: await readIdentityKeys(platform, jwks, siteId), audience: [siteId, body.publishableKey] },
              services.clock(),
            );
      const answer = await idempotent(
        platform,
        {
          key: c.req.header("idempotency-key") ?? null,
          route: "POST /v1/visitor-sessions",
          // Who has no token yet has nothing to be told apart by, and keys may be guessed: another client's request
          // with the same key is another request, never an answer with this visitor's token.
          body: { ...body, origin, client: clientOf(c) },
          status: 201,
        },
        async (ctx) => ({
          ...(await openVisitorSession(ctx, {
            siteId,
            isReset: body.reset ?? false,
            ...(proof
              ? { admit: (tx) => passChallenge(services, tx, { tenantId, siteId, origin, proof, answer: body.proof }) }
              : {}),
            ...(earlier ? { earlier } : {}),
            ...(identity ? { identity } : {}),
          })),
          issuedAt: services.clock(),
        }),
      );
      // A session that ended with this is over when its browser hears of the next.
      if (identity || body.reset) await revocations.refresh();
      // Signing the saved moment again gives the same token, so a replay answers the same and no token is ever stored.
      const { visitor, site: profile, issuedAt, sessionId, identifiedAt } = answer.body;
      const claims = {
        tenantId,
        siteId,
        sessionId,
        identifiedAt,
        visitorId: visitor.id as VisitorId,
        agentId: site.agentId,
        origin,
      };
      const { token, expiresAt } = await signVisitorToken(services.secrets, claims, issuedAt);
      const session: VisitorSession = { visitorToken: token, expiresAt, visitor, site: profile };
      return { body: session, replayed: answer.replayed };
    },
  );
}

/** What a client's repeated request has in common with its first: where it comes from and what it says it is. */
function clientOf(c: Context): string {
  const address = c.req.header("x-forwarded-for")?.split(",")[0]?.trim() ?? getConnInfo(c).remote.address ?? "";
  return `${address} ${c.req.header("user-agent") ?? ""}`;
}

function allowedOrigin(site: ResolvedSite, header: string | undefined): string {
  const origin = parseOrigin(header);
  if (origin !== null && isOriginAllowed(origin, site.allowedOrigins)) return origin;
  throw new ProblemError(
    "origin_not_allowed",
    origin === null
      ? "A visitor session is opened by a web page: the request must carry its `Origin`."
      : `${origin} is not among the allowed origins of this site. Add it there, or check the page's address.`,
  );
}

/** What an earlier token of this site says; null when it cannot be trusted any more: they become a new visitor. */
async function earlierSession(
  services: Services,
  site: ResolvedSite,
  token: string | undefined,
): Promise<EarlierSession | null> {
  if (token === undefined) return null;
  try {
    const options = { graceSeconds: VISITOR_TOKEN_RENEWAL_SECONDS };
    const claims = await verifyVisitorToken(services.secrets, token, services.clock(), options);
    return claims.siteId === site.siteId && claims.tenantId === site.tenantId ? claims : null;
  } catch (error) {
    if (error instanceof ProblemError) return null;
    throw error;
  }
}
