/** Settings of an MCP toolkit, as a tenant's `toolkits` hold them. */
import { z } from "zod";
import { headerName, headerValue } from "../http/http-settings.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import { isSecretHeader, mapSecretHeaders, originOf } from "../secret-settings.ts";
import { settingsProblems } from "../settings-problems.ts";
import type { ParsedSettings } from "../toolkit-kind.ts";

/** The protocol's own headers: a fixed one would break sessions. */
const OWN_HEADERS = /^(accept|content-type|content-length|host|last-event-id|mcp-session-id|mcp-protocol-version)$/i;

function isPlainAddress(address: string): boolean {
  const { username, password, hash } = new URL(address);
  return `${username}${password}${hash}` === "";
}

const mcpSettings = z.strictObject({
  /** The server's one address, for instance `https://mcp.shop.example/mcp`. */
  url: z
    .url({ protocol: /^https?$/, error: "must be an http or https URL", abort: true })
    .max(2_000)
    // It is stored and shown as it is, and requests to such an address are refused.
    .refine(isPlainAddress, "must be without user, password and fragment; put credentials into headers"),
  /** Left out: Streamable HTTP, and SSE where the server knows only that. */
  transport: z.enum(["streamable-http", "sse"]).optional(),
  headers: z
    .record(headerName, headerValue)
    .refine((headers) => !Object.keys(headers).some((name) => OWN_HEADERS.test(name)), {
      error: "must not hold the protocol's own headers",
    })
    .default({}),
  /** Whose account a call needs, by OAuth 2.1. */
  connections: z.enum(["none", "tenant", "visitor"]).default("none"),
  /** For authorization servers where clients cannot register themselves. */
  oauth: z
    .strictObject({
      clientId: z.string().min(1).max(500),
      clientSecret: z.string().max(2_000).optional(),
      scopes: z.array(z.string().min(1).max(200)).max(50).optional(),
    })
    .optional(),
  /** The server's names of the tools to take; left out: all. */
  tools: z.array(z.string().min(1).max(200)).min(1).max(200).optional(),
  /** One call: the answer, or nothing. */
  timeoutMs: z.int().min(100).max(120_000).default(30_000),
  /** Of what the model reads, in bytes. */
  maxResultBytes: z.int().min(1_000).max(1_000_000).default(100_000),
  /** Read in `../installed/overrides.ts`, as for every kind. */
  overrides: z.record(z.string(), z.unknown()).optional(),
});

export type McpSettings = z.output<typeof mcpSettings>;

export function parseMcpSettings(value: unknown): ParsedSettings<McpSettings> {
  const parsed = mcpSettings.safeParse(value);
  if (parsed.success) return { settings: parsed.data, problems: null };
  return { settings: null, problems: settingsProblems(parsed.error) };
}

/** Its secrets are headers and the OAuth client's secret, each bound to the origin of the server. */
export function mapMcpSecrets(
  settings: Record<string, unknown>,
  replace: (value: unknown, field: string) => unknown,
): Record<string, unknown> {
  const origin = originOf(settings.url);
  const mapped = { ...mapSecretHeaders(settings, origin, replace) };
  if (isRecord(settings.oauth) && settings.oauth.clientSecret !== undefined) {
    const { clientSecret } = settings.oauth;
    mapped.oauth = { ...settings.oauth, clientSecret: replace(clientSecret, `oauth client secret ${origin}`) };
  }
  return mapped;
}

export function secretHeaderValues({ headers }: Pick<McpSettings, "headers">): string[] {
  return Object.entries(headers).flatMap(([name, value]) => (isSecretHeader(name) ? [value] : []));
}
