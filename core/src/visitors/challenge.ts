/**
 * Proof of work: before a site that asks for it lets a new anonymous visitor in, their browser must find a number that
 * only trying many finds. One page does it unnoticed; who opens thousands of sessions pays for each.
 */
import { createHash, createHmac, hkdfSync, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import type { SiteChallenge } from "@agent-engine/protocol/administration.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Secrets, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";

/** For whom a challenge is: it is worth nothing at another site, or on another origin's pages. */
export interface ChallengePlace {
  siteId: string;
  origin: string;
}

export interface ChallengeAnswer {
  challenge: string;
  /** SHA-256 of `challenge.solution` begins with so many zero bits. */
  solution: string;
}

/** Long enough for a slow phone in a pocket. */
const GOOD_FOR_MS = 5 * 60_000;

const payloadSchema = z.object({ siteId: z.string(), origin: z.string(), difficulty: z.int(), expiresAt: z.int() });

function macOf(master: string, text: string): Buffer {
  const key = Buffer.from(hkdfSync("sha256", master, "", "agent-engine challenge", 32));
  return createHmac("sha256", key).update(text).digest();
}

/** Signed, so that nothing is stored for who only asks. `now` in ms since the epoch. */
export function issueChallenge(
  { keys: [master] }: Secrets,
  place: ChallengePlace,
  { difficulty }: SiteChallenge,
  now: number,
): string {
  if (master === undefined) throw new Error("there is no master key");
  const payload = { ...place, difficulty, expiresAt: now + GOOD_FOR_MS, salt: randomBytes(12).toString("base64url") };
  const text = Buffer.from(JSON.stringify(payload)).toString("base64url");
  return `${text}.${macOf(master, text).toString("base64url")}`;
}

/** When a solved challenge ends; null when it is none, another site's, too old, or not solved. */
export function checkAnswer(
  { keys }: Secrets,
  place: ChallengePlace,
  { challenge, solution }: ChallengeAnswer,
  now: number,
): number | null {
  const [text = "", mac = ""] = challenge.split(".");
  const given = Buffer.from(mac, "base64url");
  const isOurs = keys.some((master) => {
    const expected = macOf(master, text);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
  if (!isOurs || `${text}.${given.toString("base64url")}` !== challenge) return null;
  const { siteId, origin, difficulty, expiresAt } = payloadSchema.parse(
    JSON.parse(Buffer.from(text, "base64url").toString()),
  );
  if (siteId !== place.siteId || origin !== place.origin || expiresAt <= now) return null;
  const hash = createHash("sha256").update(`${challenge}.${solution}`).digest();
  return zeroBits(hash) >= difficulty ? expiresAt : null;
}

function zeroBits(hash: Buffer): number {
  let bits = 0;
  for (const byte of hash) {
    if (byte !== 0) return bits + Math.clz32(byte) - 24;
    bits += 8;
  }
  return bits;
}

const use = statement<{ token_hash: Buffer }>(
  "challenge_use",
  `insert into used_challenges (token_hash, tenant_id, expires_at) values ($1, $2, $3)
   on conflict (token_hash) do nothing returning token_hash`,
);

/**
 * Takes a solved challenge, once: in the transaction that makes the visitor. Throws `challenge_required` with a new one
 * where there is none, or where it is worth nothing.
 */
export async function passChallenge(
  services: Pick<Services, "secrets" | "clock">,
  tx: Tx,
  wanted: ChallengePlace & { tenantId: TenantId; proof: SiteChallenge; answer: ChallengeAnswer | undefined },
): Promise<void> {
  const { tenantId, proof, answer, siteId, origin } = wanted;
  const now = services.clock();
  const until = answer && checkAnswer(services.secrets, { siteId, origin }, answer, now);
  if (answer && until != null) {
    const hash = createHash("sha256").update(answer.challenge).digest();
    const rows = await tx.query(use, [hash, uuidOf(tenantId), new Date(until)]);
    if (rows.length === 1) return;
  }
  throw new ProblemError(
    "challenge_required",
    "This site asks new visitors for a proof of work. Find `solution` so that SHA-256 of `challenge.solution` begins with `difficulty` zero bits, and send both as `proof`.",
    {
      extra: {
        challenge: issueChallenge(services.secrets, { siteId, origin }, proof, now),
        difficulty: proof.difficulty,
      },
    },
  );
}
