/**
 * AES-256-GCM as everything here is sealed: data keys under a master key, values under a data key.
 *
 *     version (1 byte) | key id (16 bytes) | nonce (12 bytes) | ciphertext | tag (16 bytes)
 *
 * The associated data is where the value belongs, so it opens nowhere else; version and key id are part of it too. The
 * nonce is random: safe for 2^32 values under one key, and a tenant has thousands.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

export interface SealingKey {
  /** 16 bytes. */
  id: Buffer;
  /** 32 bytes. */
  key: Buffer;
}

const VERSION = 1;
const KEY_ID_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;
const CIPHER = "aes-256-gcm";

/** What was sealed does not open: another key, another place, or not what was sealed. Never says which, nor what. */
export class CannotOpen extends Error {
  /** Which one, where that is known: for the log. */
  secretId: string | null = null;

  constructor(why: string) {
    super(`A sealed value cannot be opened: ${why}`);
    this.name = "CannotOpen";
  }
}

/** `place` names where it belongs; every part counts, and none can be mistaken for another. */
export function seal({ id, key }: SealingKey, value: Uint8Array, place: readonly string[]): Buffer {
  const header = Buffer.concat([Buffer.from([VERSION]), id]);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associated(header, place));
  return Buffer.concat([header, nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
}

/** @throws CannotOpen */
export function open({ key }: SealingKey, sealed: Buffer, place: readonly string[]): Buffer {
  if (sealed.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) throw new CannotOpen("it is too short.");
  if (sealed[0] !== VERSION) throw new CannotOpen(`its version is ${sealed[0]}, and ${VERSION} is what is known.`);
  const nonceEnd = HEADER_BYTES + NONCE_BYTES;
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(HEADER_BYTES, nonceEnd), { authTagLength: TAG_BYTES });
  decipher.setAAD(associated(sealed.subarray(0, HEADER_BYTES), place));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(nonceEnd, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw new CannotOpen("it was sealed under another key or for another place, or it was changed.");
  }
}

/** The id of the key it was sealed under, as hex; null when it is too short to be one of ours. */
export function keyIdOf(sealed: Buffer): string | null {
  return sealed.length < HEADER_BYTES ? null : sealed.subarray(1, HEADER_BYTES).toString("hex");
}

function associated(header: Buffer, place: readonly string[]): Buffer {
  return Buffer.concat([header, Buffer.from(JSON.stringify(place))]);
}
