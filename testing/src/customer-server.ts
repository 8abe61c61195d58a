/** A customer's own server, as far as visitors' identity goes: it signs tokens and publishes its keys, over a real wire. */
import { createHmac, generateKeyPairSync, randomUUID, sign, type KeyObject } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export interface IdentityClaims extends Record<string, unknown> {
  sub?: string;
  /** A site's id or its publishable key. */
  aud: string;
}

type Algorithm = "HS256" | "RS256" | "ES256" | "EdDSA";

/** Five minutes from now, once. */
function complete(claims: IdentityClaims): Record<string, unknown> {
  const iat = Math.floor(Date.now() / 1_000);
  return { iat, exp: iat + 300, jti: randomUUID(), ...claims };
}

function signed(header: object, claims: object, signatureOf: (input: string) => Buffer): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const input = `${encode({ typ: "JWT", ...header })}.${encode(claims)}`;
  return `${input}.${signatureOf(input).toString("base64url")}`;
}

/** An identity token under a site's secret. */
export function signIdentity(secret: string, claims: IdentityClaims): string {
  return signed({ alg: "HS256" }, complete(claims), (input) => createHmac("sha256", secret).update(input).digest());
}

interface SigningKey {
  kid: string;
  algorithm: Exclude<Algorithm, "HS256">;
  privateKey: KeyObject;
  jwk: object;
}

export interface CustomerServer {
  jwksUrl: string;
  /** How often the keys were asked for. */
  readonly asked: number;
  /** Publishes another key, beside those it has; answers its name. */
  addKey(algorithm: SigningKey["algorithm"]): string;
  /** Publishes a key no more. */
  dropKey(kid: string): void;
  sign(kid: string, claims: IdentityClaims): string;
  /** What it answers instead of its keys; null: its keys. */
  answer(instead: ((request: IncomingMessage, response: ServerResponse) => void) | null): void;
  stop(): Promise<void>;
}

export async function startCustomerServer(): Promise<CustomerServer> {
  const keys = new Map<string, SigningKey>();
  const published = new Set<string>();
  let instead: ((request: IncomingMessage, response: ServerResponse) => void) | null = null;
  let asked = 0;
  const http = createServer((request, response) => {
    asked++;
    if (instead) return instead(request, response);
    const jwks = { keys: [...published].map((kid) => keys.get(kid)?.jwk) };
    response.setHeader("content-type", "application/json").end(JSON.stringify(jwks));
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return {
    jwksUrl: `http://127.0.0.1:${(http.address() as AddressInfo).port}/jwks.json`,
    get asked() {
      return asked;
    },
    addKey(algorithm) {
      const kid = randomUUID();
      const { privateKey, publicKey } = pairOf(algorithm);
      keys.set(kid, { kid, algorithm, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid } });
      published.add(kid);
      return kid;
    },
    dropKey: (kid) => void published.delete(kid),
    sign(kid, claims) {
      const key = keys.get(kid);
      if (!key) throw new Error(`there is no key ${kid}`);
      const { algorithm, privateKey } = key;
      return signed({ alg: algorithm, kid }, complete(claims), (input) =>
        sign(algorithm === "EdDSA" ? null : "sha256", Buffer.from(input), {
          key: privateKey,
          dsaEncoding: "ieee-p1363",
        }),
      );
    },
    answer: (next) => (instead = next),
    async stop() {
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };
}

function pairOf(algorithm: SigningKey["algorithm"]): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (algorithm) {
    case "RS256":
      return generateKeyPairSync("rsa", { modulusLength: 2048 });
    case "ES256":
      return generateKeyPairSync("ec", { namedCurve: "P-256" });
    case "EdDSA":
      return generateKeyPairSync("ed25519");
  }
}
