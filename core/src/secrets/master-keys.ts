import { createHash, hkdfSync } from "node:crypto";
import type { Secrets } from "../context.ts";
import { CannotOpen, keyIdOf, open, seal, type SealingKey } from "./sealed.ts";

const derived = new Map<string, SealingKey>();

/** A key derived from a master key for one purpose: to wrap data keys. Its id tells nothing of the master key. */
function wrappingKey(master: string): SealingKey {
  let known = derived.get(master);
  if (!known) {
    const key = Buffer.from(hkdfSync("sha256", master, "", "agent-engine data key wrapping", 32));
    known = { id: createHash("sha256").update("agent-engine key id").update(key).digest().subarray(0, 16), key };
    derived.set(master, known);
  }
  return known;
}

/** The ids of the configured master keys, as hex; the first is the one that wraps. */
export function masterKeyIds(secrets: Secrets): string[] {
  return secrets.keys.map((master) => wrappingKey(master).id.toString("hex"));
}

export interface WrappedKey {
  wrapped: Buffer;
  masterKeyId: string;
}

/** Seals a data key under the first master key, for this tenant and this row alone. */
export function wrapDataKey(secrets: Secrets, place: DataKeyPlace, key: Buffer): WrappedKey {
  const [master] = secrets.keys;
  if (master === undefined) throw new Error("there is no master key to seal with: set SECRET_KEY");
  const wrapping = wrappingKey(master);
  return { wrapped: seal(wrapping, key, dataKeyPlace(place)), masterKeyId: wrapping.id.toString("hex") };
}

export interface DataKeyPlace {
  /** 32 hex digits each. */
  tenant: string;
  dataKey: string;
}

function dataKeyPlace({ tenant, dataKey }: DataKeyPlace): string[] {
  return ["data_keys", tenant, dataKey];
}

/** @throws MasterKeyMissing when none of the configured master keys wrapped it; CannotOpen when it was changed */
export function unwrapDataKey(secrets: Secrets, place: DataKeyPlace, wrapped: Buffer): Buffer {
  const id = keyIdOf(wrapped);
  const wrapping = secrets.keys.map(wrappingKey).find((key) => key.id.toString("hex") === id);
  if (!wrapping) throw new MasterKeyMissing(id ?? "unknown");
  return open(wrapping, wrapped, dataKeyPlace(place));
}

/** A data key was wrapped under a master key that this process does not have. */
export class MasterKeyMissing extends CannotOpen {
  constructor(masterKeyId: string) {
    super(
      `SECRET_KEY lacks the master key ${shortKeyId(masterKeyId)} that wraps its data key. Add that key behind the first one (SECRET_KEY=new,old).`,
    );
    this.name = "MasterKeyMissing";
  }
}

/** Enough of an id for a person to tell keys apart. */
export function shortKeyId(masterKeyId: string): string {
  return masterKeyId.slice(0, 12);
}
