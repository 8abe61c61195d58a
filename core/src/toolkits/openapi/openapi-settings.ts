/** Settings of an OpenAPI toolkit, as a tenant installs it. */
import { z } from "zod";
import { headerName, headerValue, isPlainAddress } from "../http/http-settings.ts";
import { originOf } from "../secret-settings.ts";
import { settingsProblems } from "../settings-problems.ts";
import type { ParsedSettings } from "../toolkit-kind.ts";
import { isRecord } from "../schema/schema-keywords.ts";

const address = z.url({ protocol: /^https?$/, error: "must be an http or https URL", abort: true }).max(2_000);
const secret = z.string().min(1).max(8_000);
const plainSecret = secret.and(headerValue);

export const openapiDocument = z.union(
  [
    z.strictObject({ url: address }),
    z.strictObject({ text: z.string().min(1).max(2_000_000) }),
    z.strictObject({ json: z.record(z.string(), z.unknown()) }),
  ],
  { error: "must be one of {url}, {text} and {json}" },
);

const auth = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("none") }),
  z
    .strictObject({
      type: z.literal("apiKey"),
      in: z.enum(["header", "query", "cookie"]),
      name: z.string().min(1).max(100),
      value: plainSecret,
    })
    .refine((key) => key.in === "query" || headerName.safeParse(key.name).success, "must have a valid name")
    .refine((key) => key.in !== "cookie" || /^[!#-+\x2d-:<-[\]-~]+$/.test(key.value), "must fit into a cookie"),
  z.strictObject({ type: z.literal("bearer"), token: plainSecret }),
  z.strictObject({
    type: z.literal("basic"),
    username: z
      .string()
      .max(1_000)
      .regex(/^[^:]*$/, "must be without a colon"),
    password: secret,
  }),
  z.strictObject({
    type: z.literal("oauth2_client_credentials"),
    tokenUrl: address.refine((url) => isPlainAddress(url.replace(/\?.*$/, "")), "must be without user and password"),
    clientId: z.string().min(1).max(1_000),
    clientSecret: secret,
    scope: z.string().max(2_000).optional(),
    audience: z.string().max(2_000).optional(),
    /** Where the token's server wants id and secret. */
    clientAuth: z.enum(["basic", "body"]).default("basic"),
  }),
]);

const override = z.looseObject({ effect: z.enum(["read", "idempotent", "write"]).optional() });

const openapiSettings = z
  .strictObject({
    document: openapiDocument,
    /** Default: the document's first server. */
    baseUrl: address
      .refine(isPlainAddress, "must be without user, password, query and fragment; credentials belong into `auth`")
      .optional(),
    /** Ids of operations, or `GET /path`. Default: all, up to a hundred. */
    operations: z.array(z.string().min(1).max(500)).min(1).max(200).optional(),
    auth: auth.default({ type: "none" }),
    /** The header that carries the idempotency key of a call that changes something. */
    idempotencyHeader: headerName.default("Idempotency-Key"),
    timeoutMs: z.int().min(100).max(60_000).default(30_000),
    /** Most of an answer that is read, in bytes. */
    maxResponseBytes: z.int().min(1_000).max(1_000_000).default(100_000),
    overrides: z.record(z.string(), override).optional(),
  })
  // What is sent with a credential goes where the tenant said, not where a document says that it may change any day.
  .refine((settings) => settings.auth.type === "none" || settings.baseUrl !== undefined, {
    path: ["baseUrl"],
    error: "must be given with credentials, so that they are sent nowhere else",
  });

export type OpenapiSettings = z.output<typeof openapiSettings>;
export type OpenapiDocumentSource = z.output<typeof openapiDocument>;
export type OpenapiAuth = OpenapiSettings["auth"];
export type ClientCredentials = Extract<OpenapiAuth, { type: "oauth2_client_credentials" }>;

export function parseOpenapiSettings(value: unknown): ParsedSettings<OpenapiSettings> {
  const parsed = openapiSettings.safeParse(value);
  if (parsed.success) return { settings: parsed.data, problems: null };
  return { settings: null, problems: settingsProblems(parsed.error) };
}

/** Each with the origins it is sent to. */
export function mapOpenapiSecrets(
  settings: Record<string, unknown>,
  replace: (value: unknown, field: string) => unknown,
): Record<string, unknown> {
  const { auth: given, baseUrl } = settings;
  if (!isRecord(given)) return settings;
  const origin = originOf(baseUrl);
  const replaced = (name: string, field: string) =>
    given[name] === undefined ? settings : { ...settings, auth: { ...given, [name]: replace(given[name], field) } };
  switch (given.type) {
    case "apiKey":
      return replaced("value", `auth ${wordOf(given.in)} ${wordOf(given.name)} ${origin}`);
    case "bearer":
      return replaced("token", `auth token ${origin}`);
    case "basic":
      return replaced("password", `auth password ${origin}`);
    case "oauth2_client_credentials":
      return replaced("clientSecret", `auth clientSecret ${originOf(given.tokenUrl)} ${origin}`);
    default:
      return settings;
  }
}

function wordOf(value: unknown): string {
  return typeof value === "string" ? value.toLowerCase() : "";
}
