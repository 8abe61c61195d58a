/**
 * Connects an account at an MCP server as its specification says: OAuth 2.1 with PKCE, found through the protected
 * resource's metadata (RFC 9728) and the authorization server's (RFC 8414), where we register ourselves (RFC 7591). Tokens
 * are asked for this server alone (RFC 8707). The authorization server is chosen by the MCP server, so it is reached by the
 * egress too.
 */
import type { OAuthTokens } from "@modelcontextprotocol/sdk/shared/auth.js";
import { ProblemError } from "../../errors.ts";
import type { AccountStatus, Connector, KindDeps } from "../toolkit-kind.ts";
import { isUnauthorized } from "./mcp-discover.ts";
import { findAuthorization, oauthFetch, type Authorization } from "./mcp-oauth-discovery.ts";
import { readOAuthSecret, type OAuthSecret } from "./mcp-oauth-secret.ts";
import { openSession } from "./mcp-session.ts";
import type { McpSettings } from "./mcp-settings.ts";

/** Renewed when it would end within this time. */
const RENEW_BEFORE_MS = 5 * 60_000;
const CLIENT_NAME = "Agent Engine";

const loadAuth = () => import("@modelcontextprotocol/sdk/client/auth.js");

export const mcpConnector: Connector<McpSettings> = {
  async link(settings, deps, { callbackUrl, state }, signal) {
    const found = await findAuthorization(settings, deps, signal);
    const { startAuthorization } = await loadAuth();
    const scope = settings.oauth?.scopes?.join(" ") ?? found.scope;
    const client = settings.oauth ? ownClient(settings.oauth) : await register(found, deps, callbackUrl, scope, signal);
    const { authorizationUrl, codeVerifier } = await startAuthorization(found.issuer, {
      metadata: found.metadata,
      clientInformation: client,
      redirectUrl: callbackUrl,
      state,
      ...(scope === undefined ? {} : { scope }),
      ...(found.resource === null ? {} : { resource: found.resource }),
    }).catch((error: unknown) => {
      throw refused(error);
    });
    const { issuer, metadata, resource } = found;
    const secret = { issuer, metadata, client, resource, codeVerifier };
    return { url: authorizationUrl.href, expiresAt: null, account: { issuer }, secret: JSON.stringify(secret) };
  },

  async complete(settings, deps, { account, secret, query, callbackUrl, state }, signal) {
    const kept = readOAuthSecret(secret);
    const failed = { status: "failed" as const, account, scopes: [], expiresAt: null, label: null };
    const { code, iss } = query;
    // RFC 9207: an answer that names another issuer was meant for somebody else.
    const isOurs = query.state === state && (iss === undefined || iss === kept?.metadata.issuer);
    if (!kept?.codeVerifier || !isOurs || query.error !== undefined || code === undefined) return failed;
    const { exchangeAuthorization } = await loadAuth();
    let tokens: OAuthTokens;
    try {
      tokens = await exchangeAuthorization(kept.issuer, {
        metadata: kept.metadata,
        clientInformation: kept.client,
        authorizationCode: code,
        codeVerifier: kept.codeVerifier,
        redirectUri: callbackUrl,
        ...(kept.resource === null ? {} : { resource: kept.resource }),
        fetchFn: oauthFetch(deps, signal),
      });
    } catch (error) {
      deps.log.warn({ err: error }, "an MCP server's authorization server gave no token");
      return failed;
    }
    const { codeVerifier: _used, ...rest } = kept;
    const next = withTokens(rest, tokens, deps.now());
    return {
      status: "active",
      account,
      secret: JSON.stringify(next),
      scopes: tokens.scope?.split(" ").filter(Boolean) ?? [],
      expiresAt: next.tokens?.expiresAt ?? null,
      label: null,
    };
  },

  async check(settings, deps, { secret }, signal) {
    const kept = readOAuthSecret(secret);
    if (!kept?.tokens) return { status: "failed" };
    const { expiresAt } = kept.tokens;
    if (expiresAt !== null && Date.parse(expiresAt) - deps.now() < RENEW_BEFORE_MS) return renew(kept, deps, signal);
    const isGood = await isAccepted(settings, deps, kept.tokens.access, signal);
    return isGood ? { status: "active" } : renew(kept, deps, signal);
  },

  async revoke(_settings, deps, { secret }, signal) {
    const kept = readOAuthSecret(secret);
    if (!kept) return;
    const fetch = oauthFetch(deps, signal);
    const { revocation_endpoint: endpoint } = kept.metadata;
    const token = kept.tokens?.refresh ?? kept.tokens?.access;
    if (endpoint !== undefined && token !== undefined) await revokeToken(fetch, endpoint, kept, token);
    const { registration_client_uri: uri, registration_access_token: access } = kept.client;
    // RFC 7592: the client was registered for this account alone.
    if (uri !== undefined && access !== undefined) {
      const answer = await fetch(uri, { method: "DELETE", headers: { authorization: `Bearer ${access}` } });
      await answer.body?.cancel();
    }
  },
};

function ownClient({ clientId, clientSecret }: NonNullable<McpSettings["oauth"]>): OAuthSecret["client"] {
  return { client_id: clientId, ...(clientSecret === undefined ? {} : { client_secret: clientSecret }) };
}

async function register(
  found: Authorization,
  deps: KindDeps,
  callbackUrl: string,
  scope: string | undefined,
  signal: AbortSignal,
): Promise<OAuthSecret["client"]> {
  const { registerClient } = await loadAuth();
  const send = oauthFetch(deps, signal);
  let said: unknown;
  // The SDK leaves out by what a registration is ended again (RFC 7592).
  const fetchFn: typeof send = async (...request) => {
    const answer = await send(...request);
    said = await answer
      .clone()
      .json()
      .catch(() => null);
    return answer;
  };
  try {
    const client = await registerClient(found.issuer, {
      metadata: found.metadata,
      clientMetadata: {
        client_name: CLIENT_NAME,
        redirect_uris: [callbackUrl],
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        token_endpoint_auth_method: clientMethod(found.metadata.token_endpoint_auth_methods_supported),
      },
      ...(scope === undefined ? {} : { scope }),
      fetchFn,
    });
    return { ...client, ...registrationIn(said) };
  } catch (error) {
    throw refused(error, "Register a client there and give its id in `settings.oauth`.");
  }
}

/** With PKCE a client needs no secret, but some servers know only clients that have one. */
function clientMethod(known: readonly string[] | undefined): string {
  if (!known || known.includes("none")) return "none";
  return known.includes("client_secret_basic") ? "client_secret_basic" : "client_secret_post";
}

function registrationIn(said: unknown): Partial<OAuthSecret["client"]> {
  const { registration_client_uri: uri, registration_access_token: token } = (said ?? {}) as Record<string, unknown>;
  if (typeof uri !== "string" || typeof token !== "string" || !URL.canParse(uri)) return {};
  return { registration_client_uri: uri, registration_access_token: token };
}

async function renew(
  kept: OAuthSecret,
  deps: KindDeps,
  signal: AbortSignal,
): Promise<{ status: AccountStatus; secret?: string; expiresAt?: string | null }> {
  if (kept.tokens?.refresh === undefined) {
    const { expiresAt = null } = kept.tokens ?? {};
    const isOver = expiresAt === null || Date.parse(expiresAt) <= deps.now();
    return { status: isOver ? "expired" : "active" };
  }
  const { refreshAuthorization } = await loadAuth();
  try {
    const tokens = await refreshAuthorization(kept.issuer, {
      metadata: kept.metadata,
      clientInformation: kept.client,
      refreshToken: kept.tokens.refresh,
      ...(kept.resource === null ? {} : { resource: kept.resource }),
      fetchFn: oauthFetch(deps, signal),
    });
    const next = withTokens(kept, tokens, deps.now());
    return { status: "active", secret: JSON.stringify(next), expiresAt: next.tokens?.expiresAt ?? null };
  } catch (error) {
    if (isFinal(error)) return { status: "expired" };
    throw new ProblemError("unavailable", "The authorization server did not answer. Try again later.", {
      cause: error,
    });
  }
}

function withTokens(kept: OAuthSecret, tokens: OAuthTokens, nowMs: number): OAuthSecret {
  const { access_token: access, refresh_token: refresh, expires_in: seconds, scope } = tokens;
  return {
    ...kept,
    tokens: {
      access,
      ...(refresh === undefined ? {} : { refresh }),
      expiresAt: seconds === undefined ? null : new Date(nowMs + seconds * 1000).toISOString(),
      ...(scope === undefined ? {} : { scope }),
    },
  };
}

/** Whether the server still takes the token. @throws when that cannot be said */
async function isAccepted(settings: McpSettings, deps: KindDeps, token: string, signal: AbortSignal): Promise<boolean> {
  try {
    const session = await openSession({ settings, token, egress: deps.egress, onToolsChanged: () => {} }, signal);
    await session.close();
    return true;
  } catch (error) {
    if (isUnauthorized(error)) return false;
    throw new ProblemError("unavailable", "The MCP server did not answer. Try again later.", { cause: error });
  }
}

async function revokeToken(
  fetch: ReturnType<typeof oauthFetch>,
  endpoint: string,
  { client, metadata }: OAuthSecret,
  token: string,
): Promise<void> {
  const form = new URLSearchParams({ token, client_id: client.client_id });
  const methods = metadata.token_endpoint_auth_methods_supported ?? [];
  const headers = new Headers({ "content-type": "application/x-www-form-urlencoded" });
  if (client.client_secret !== undefined && (methods.length === 0 || methods.includes("client_secret_basic"))) {
    headers.set("authorization", `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}`);
  } else if (client.client_secret !== undefined) form.set("client_secret", client.client_secret);
  const answer = await fetch(endpoint, { method: "POST", headers, body: form });
  await answer.body?.cancel();
}

/** What no later try would change. The SDK's errors carry OAuth's codes. */
function isFinal(error: unknown): boolean {
  const code = (error as { errorCode?: unknown } | null)?.errorCode;
  return code === "invalid_grant" || code === "invalid_client" || code === "unauthorized_client";
}

function refused(error: unknown, advice = ""): ProblemError {
  const said = error instanceof Error ? error.message : String(error);
  const detail = `The MCP server's authorization server refused: ${said.slice(0, 300)}. ${advice}`.trim();
  return new ProblemError("invalid_request", detail, { cause: error });
}
