import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import type { Secrets } from "../context.ts";

/** A saved answer that holds a secret: AES-256-GCM under a key derived from the master key. */
interface SealedAnswer {
  sealed: string;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

function keyOf(master: string): Buffer {
  return Buffer.from(hkdfSync("sha256", master, "", "agent-engine saved answer", 32));
}

/** `owner` names whose answer it is; it opens for nobody else. */
export function sealAnswer(secrets: Secrets, owner: string, body: unknown): SealedAnswer {
  const [master] = secrets.keys;
  if (master === undefined) throw new Error("no master key to seal with");
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", keyOf(master), nonce).setAAD(Buffer.from(owner));
  const text = Buffer.concat([cipher.update(JSON.stringify(body)), cipher.final()]);
  return { sealed: Buffer.concat([nonce, cipher.getAuthTag(), text]).toString("base64") };
}

/** Opens with whichever master key sealed it; throws when none did. */
export function openAnswer(secrets: Secrets, owner: string, saved: unknown): unknown {
  const bytes = Buffer.from((saved as SealedAnswer).sealed, "base64");
  for (const master of secrets.keys) {
    const cipher = createDecipheriv("aes-256-gcm", keyOf(master), bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(Buffer.from(owner))
      .setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    try {
      const text = Buffer.concat([cipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), cipher.final()]);
      return JSON.parse(text.toString("utf8"));
    } catch {
      // Another key's, then.
    }
  }
  throw new Error("a saved answer was sealed with a master key that is gone");
}
