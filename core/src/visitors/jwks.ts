import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from "jose";
import type { Egress } from "../net/egress.ts";
import { JwksUnreadable } from "./identity-token.ts";

const TIMEOUT_MS = 3_000;
/** Keys are asked for again after so long; for a `kid` that nobody knows at most every half minute. */
const KEPT_MS = 600_000;
const COOLDOWN_MS = 30_000;
const MAX_BYTES = 64 * 1024;
const MAX_URLS = 1_000;

export interface JwksReader {
  /** The keys at an address, as `jwtVerify` takes them. Read when they are first needed. */
  keysOf(url: string): JWTVerifyGetKey;
}

/** Reads customers' public keys: over the one way out, cached, and no more of an answer than keys take. */
export function createJwksReader(egress: Pick<Egress, "fetch">): JwksReader {
  const known = new Map<string, JWTVerifyGetKey>();

  async function read(url: string, init: RequestInit): Promise<Response> {
    try {
      const response = await egress.fetch(url, init);
      if (response.status !== 200) throw new JwksUnreadable(`it answers ${response.status}`);
      return Response.json(JSON.parse(await boundedText(response)));
    } catch (error) {
      throw error instanceof JwksUnreadable ? error : new JwksUnreadable("it does not answer with JSON", error);
    }
  }

  return {
    keysOf(url) {
      const found =
        known.get(url) ??
        createRemoteJWKSet(new URL(url), {
          timeoutDuration: TIMEOUT_MS,
          cacheMaxAge: KEPT_MS,
          cooldownDuration: COOLDOWN_MS,
          [customFetch]: read,
        });
      // Used last, forgotten last.
      known.delete(url);
      known.set(url, found);
      const [oldest] = known.keys();
      if (known.size > MAX_URLS && oldest !== undefined) known.delete(oldest);
      return found;
    },
  };
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_BYTES) throw new JwksUnreadable(`it is longer than ${MAX_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
