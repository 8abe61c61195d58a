/**
 * An OAuth 2.1 authorization server for tests: metadata, dynamic registration, consent that is given at once, PKCE,
 * rotating refresh tokens, revocation, and a ledger. What it refuses, a real one refuses too.
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { closeServer, listen } from "./listening.ts";

export interface OAuthServerOptions {
  /** How long an access token is good. */
  tokenSeconds?: number;
  /** Replaces fields of the metadata. */
  metadata?: Record<string, unknown>;
}

export interface OAuthServer {
  issuer: string;
  /** What was asked of it: `POST /token authorization_code`. */
  ledger: string[];
  /** Whether the token was given for the resource and is still good. */
  accepts(token: string | null, resource: string): boolean;
  clients(): number;
  /** Ends every token, as a person who withdraws their consent. */
  forgetTokens(): void;
  stop(): Promise<void>;
}

interface Grant {
  client: string;
  resource: string;
  redirect: string;
  challenge: string;
}

export async function startOAuthServer(options: OAuthServerOptions = {}): Promise<OAuthServer> {
  const ledger: string[] = [];
  const clients = new Map<string, { redirects: string[]; access: string }>();
  const codes = new Map<string, Grant>();
  const access = new Map<string, { resource: string; endsAt: number }>();
  const refresh = new Map<string, Grant>();

  function give(grant: Grant): Answer {
    const seconds = options.tokenSeconds ?? 3_600;
    const [token, again] = [`access-${randomUUID()}`, `refresh-${randomUUID()}`];
    access.set(token, { resource: grant.resource, endsAt: Date.now() + seconds * 1_000 });
    refresh.set(again, grant);
    const body = {
      access_token: token,
      token_type: "Bearer",
      expires_in: seconds,
      refresh_token: again,
      scope: "read write",
    };
    return [200, body];
  }

  function token(form: URLSearchParams): Answer {
    const kind = form.get("grant_type");
    const given = form.get(kind === "refresh_token" ? "refresh_token" : "code") ?? "";
    const from = kind === "refresh_token" ? refresh : codes;
    const grant = from.get(given);
    from.delete(given);
    const isOurs = grant && clients.has(grant.client) && grant.client === form.get("client_id");
    if (!isOurs || form.get("resource") !== grant.resource) return [400, { error: "invalid_grant" }];
    const proof = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    const isProven = proof === grant.challenge && form.get("redirect_uri") === grant.redirect;
    return kind === "refresh_token" || isProven ? give(grant) : [400, { error: "invalid_grant" }];
  }

  function authorize(query: URLSearchParams): Answer {
    const client = query.get("client_id") ?? "";
    const redirect = query.get("redirect_uri") ?? "";
    const challenge = query.get("code_challenge");
    if (!clients.get(client)?.redirects.includes(redirect)) return [400, { error: "invalid_client" }];
    if (!challenge || query.get("code_challenge_method") !== "S256") return [400, { error: "invalid_request" }];
    const code = randomUUID();
    codes.set(code, { client, redirect, challenge, resource: query.get("resource") ?? "" });
    const back = new URL(redirect);
    back.searchParams.set("code", code);
    back.searchParams.set("state", query.get("state") ?? "");
    back.searchParams.set("iss", issuer);
    return [302, null, { location: back.href }];
  }

  function register(body: string): Answer {
    const { redirect_uris: redirects } = JSON.parse(body) as { redirect_uris: string[] };
    const id = randomUUID();
    const key = randomUUID();
    clients.set(id, { redirects, access: key });
    const registered = {
      client_id: id,
      redirect_uris: redirects,
      token_endpoint_auth_method: "none",
      registration_client_uri: `${issuer}/register/${id}`,
      registration_access_token: key,
    };
    return [201, registered];
  }

  function answer(request: IncomingMessage, url: URL, body: string): Answer {
    const { pathname: path, searchParams } = url;
    const form = new URLSearchParams(body);
    if (path === "/.well-known/oauth-authorization-server") return [200, metadata()];
    if (path === "/register" && request.method === "POST") return register(body);
    if (path === "/authorize") return authorize(searchParams);
    if (path === "/token") return token(form);
    if (path === "/revoke") {
      access.clear();
      refresh.delete(form.get("token") ?? "");
      return [200, null];
    }
    const id = path.replace("/register/", "");
    const isItself = request.headers.authorization === `Bearer ${clients.get(id)?.access}`;
    if (request.method === "DELETE" && isItself) {
      clients.delete(id);
      return [204, null];
    }
    return [404, null];
  }

  const metadata = () => ({
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    registration_endpoint: `${issuer}/register`,
    revocation_endpoint: `${issuer}/revoke`,
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
    token_endpoint_auth_methods_supported: ["none"],
    ...options.metadata,
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString("utf8");
    const url = new URL(request.url ?? "/", issuer);
    const grant = url.pathname === "/token" ? ` ${new URLSearchParams(body).get("grant_type")}` : "";
    ledger.push(`${request.method} ${url.pathname.replace(/\/register\/.*/, "/register/…")}${grant}`);
    const [status, json, headers] = answer(request, url, body);
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(json === null ? undefined : JSON.stringify(json));
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.writeHead(400).end(String(error)));
  });
  const issuer = `http://127.0.0.1:${await listen(server, 0)}`;

  return {
    issuer,
    ledger,
    accepts(given, resource) {
      const known = access.get(given ?? "");
      return known !== undefined && known.resource === resource && known.endsAt > Date.now();
    },
    clients: () => clients.size,
    forgetTokens() {
      access.clear();
      refresh.clear();
    },
    stop() {
      server.closeAllConnections();
      return closeServer(server);
    },
  };
}

type Answer = [status: number, body: Record<string, unknown> | null, headers?: Record<string, string>];
