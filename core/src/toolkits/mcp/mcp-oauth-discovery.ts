/** Finds who may let somebody in at an MCP server, and what for. */
import type { FetchLike } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { AuthorizationServerMetadata } from "@modelcontextprotocol/sdk/shared/auth.js";
import { ProblemError } from "../../errors.ts";
import type { KindDeps } from "../toolkit-kind.ts";
import type { McpSettings } from "./mcp-settings.ts";

const MAX_ANSWER_BYTES = 200_000;

export interface Authorization {
  issuer: string;
  metadata: AuthorizationServerMetadata;
  resource: string | null;
  /** What the server asks for. */
  scope: string | undefined;
}

/** @throws ProblemError `invalid_request` or `unavailable` */
export async function findAuthorization(
  settings: Pick<McpSettings, "url" | "headers">,
  deps: Pick<KindDeps, "egress">,
  signal: AbortSignal,
): Promise<Authorization> {
  const fetchFn = oauthFetch(deps, signal);
  const { discoverOAuthServerInfo, extractWWWAuthenticateParams } =
    await import("@modelcontextprotocol/sdk/client/auth.js");
  const { checkResourceAllowed } = await import("@modelcontextprotocol/sdk/shared/auth-utils.js");
  const asked = await fetchFn(settings.url, {
    method: "POST",
    headers: {
      ...settings.headers,
      accept: "application/json, text/event-stream",
      "content-type": "application/json",
    },
    // Enough to be asked for a token; whoever needs none answers it, and nothing has happened.
    body: JSON.stringify({ jsonrpc: "2.0", id: 0, method: "ping" }),
  }).catch((error: unknown) => {
    throw new ProblemError("unavailable", "The MCP server did not answer. Try again later.", { cause: error });
  });
  const { resourceMetadataUrl, scope } = extractWWWAuthenticateParams(asked);
  await asked.body?.cancel();
  const found = await discoverOAuthServerInfo(settings.url, {
    fetchFn,
    ...(resourceMetadataUrl ? { resourceMetadataUrl } : {}),
  }).catch((error: unknown) => {
    const said = error instanceof Error ? error.message : String(error);
    throw new ProblemError("invalid_request", `Its authorization server cannot be used: ${said.slice(0, 300)}.`, {
      cause: error,
    });
  });
  const { authorizationServerMetadata: metadata, authorizationServerUrl: issuer, resourceMetadata } = found;
  if (!metadata) {
    throw new ProblemError(
      "invalid_request",
      "The MCP server names no authorization server, so no account can be connected. If it needs a key, put it into `headers` and set `connections` to none.",
    );
  }
  const resource = resourceMetadata?.resource ?? null;
  if (resource !== null && !checkResourceAllowed({ requestedResource: settings.url, configuredResource: resource })) {
    throw new ProblemError("invalid_request", "The MCP server's metadata are about another server.");
  }
  // RFC 8414: metadata that name another issuer are not this one's.
  if (withoutSlash(metadata.issuer) !== withoutSlash(issuer)) {
    throw new ProblemError("invalid_request", "The authorization server's metadata name another issuer.");
  }
  // A browser is sent there.
  if (!/^https?:$/.test(new URL(metadata.authorization_endpoint).protocol)) {
    throw new ProblemError("invalid_request", "The authorization server's address is not a web page.");
  }
  return { issuer, metadata, resource, scope: scope ?? resourceMetadata?.scopes_supported?.join(" ") };
}

const withoutSlash = (url: string): string => (URL.canParse(url) ? new URL(url).href : url).replace(/\/$/, "");

/** For the SDK: by the egress, with the signal, small answers only, and a redirect is as good as nothing there. */
export function oauthFetch({ egress }: Pick<KindDeps, "egress">, signal: AbortSignal): FetchLike {
  return async (url, init = {}) => {
    const headers = Object.fromEntries(new Headers(init.headers));
    const body = init.body instanceof URLSearchParams ? init.body.toString() : init.body;
    const response = await egress.fetchOnce(url, { ...init, headers, body: body ?? null, signal });
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      return new Response(null, { status: 404 });
    }
    const answer = response.body ? await readSmall(response.body) : null;
    const kept = [...response.headers].filter(([name]) => !/^content-(encoding|length)$/i.test(name));
    const isEmpty = answer === null || answer === "" || response.status === 204;
    return new Response(isEmpty ? null : answer, { status: response.status, headers: kept });
  };
}

async function readSmall(body: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_ANSWER_BYTES) throw new Error("its answer is too large");
  }
  return text + decoder.decode();
}
