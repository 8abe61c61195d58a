/**
 * Access tokens by OAuth 2 client credentials, kept until shortly before they expire. One process asks once for all calls
 * that wait for the same token.
 */
import { createHash } from "node:crypto";
import type { Egress } from "../../net/egress.ts";
import { createRedactor } from "../../secrets/without-secrets.ts";
import { readText } from "../http/http-call.ts";
import { networkError } from "../network-error.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import type { ClientCredentials } from "./openapi-settings.ts";

const MAX_TOKENS = 1_000;
const REQUEST_MS = 10_000;
const MAX_BYTES = 100_000;
/** For tokens that do not say. */
const DEFAULT_LIFETIME_MS = 300_000;
/** Used no longer when less is left, or less than a tenth. */
const EARLY_MS = 30_000;

/** There is no token, and so nothing was sent. `isRefused`: the credentials are wrong; otherwise it may work later. */
export class NoToken extends Error {
  readonly isRefused: boolean;

  constructor(message: string, isRefused: boolean, cause?: unknown) {
    super(message.slice(0, 500), { cause });
    this.name = "NoToken";
    this.isRefused = isRefused;
  }
}

interface Kept {
  token: Promise<string>;
  /** Milliseconds since the epoch; infinite while it is asked for. */
  until: number;
}

/** Of one process: each has one egress. */
const keptBy = new WeakMap<Egress, Map<string, Kept>>();

/** `refused`: a token that the service just refused, which is not to be used again. @throws NoToken */
export async function accessToken(
  credentials: ClientCredentials,
  egress: Egress,
  now: () => number,
  refused: string | null = null,
): Promise<string> {
  const tokens = keptBy.get(egress) ?? new Map<string, Kept>();
  keptBy.set(egress, tokens);
  const key = createHash("sha256").update(JSON.stringify(credentials)).digest("hex");
  const known = tokens.get(key);
  if (known && known.until > now()) {
    const token = await known.token;
    if (token !== refused) return token;
    // Another call may have renewed it meanwhile.
    if (tokens.get(key) !== known) return accessToken(credentials, egress, now, refused);
  }
  const asked = askForToken(credentials, egress);
  const kept: Kept = { token: asked.then(({ token }) => token), until: Infinity };
  // Whoever waits for it hears of a failure, and perhaps nobody does.
  kept.token.catch(() => {});
  tokens.delete(key);
  const [oldest] = tokens.keys();
  if (tokens.size >= MAX_TOKENS && oldest !== undefined) tokens.delete(oldest);
  tokens.set(key, kept);
  try {
    const { token, lifetimeMs } = await asked;
    kept.until = now() + lifetimeMs - Math.min(EARLY_MS, lifetimeMs / 10);
    return token;
  } catch (error) {
    if (tokens.get(key) === kept) tokens.delete(key);
    throw error;
  }
}

async function askForToken(
  { tokenUrl, clientId, clientSecret, clientAuth, scope, audience }: ClientCredentials,
  egress: Egress,
): Promise<{ token: string; lifetimeMs: number }> {
  const form = new URLSearchParams({ grant_type: "client_credentials" });
  if (scope !== undefined && scope !== "") form.set("scope", scope);
  if (audience !== undefined && audience !== "") form.set("audience", audience);
  const headers: Record<string, string> = {
    accept: "application/json",
    "content-type": "application/x-www-form-urlencoded",
  };
  const basic = Buffer.from(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`).toString("base64");
  if (clientAuth === "basic") headers.authorization = `Basic ${basic}`;
  else {
    form.set("client_id", clientId);
    form.set("client_secret", clientSecret);
  }
  let status: number;
  let text: string;
  try {
    const signal = AbortSignal.timeout(REQUEST_MS);
    const response = await egress.fetch(tokenUrl, { method: "POST", headers, body: form.toString(), signal });
    status = response.status;
    ({ text } = await readText(response, MAX_BYTES));
  } catch (error) {
    const network = networkError(error);
    const isRefused = network?.code === "EGRESS_REFUSED";
    throw new NoToken(
      `The token's server cannot be reached: ${network?.message ?? "no answer in time"}`,
      isRefused,
      error,
    );
  }
  if (status !== 200 && status !== 201) {
    const said = createRedactor([clientSecret, `Basic ${basic}`]).cut(text.slice(0, 300));
    throw new NoToken(
      `The token's server answered ${status}: ${said}`,
      status < 500 && status !== 429 && status !== 408,
    );
  }
  return tokenOf(text);
}

function tokenOf(text: string): { token: string; lifetimeMs: number } {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = null;
  }
  const { access_token: token, expires_in: seconds } = isRecord(answer) ? answer : {};
  if (typeof token !== "string" || !/^[\x21-\x7e]{1,8000}$/.test(token)) {
    throw new NoToken("The token's server answered without a token.", false);
  }
  const lifetimeMs = Number(seconds) > 0 ? Math.min(Number(seconds), 86_400) * 1_000 : DEFAULT_LIFETIME_MS;
  return { token, lifetimeMs };
}
