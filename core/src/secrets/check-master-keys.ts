import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { masterKeyIds, shortKeyId } from "./master-keys.ts";

const keysInUse = statement<{ master_key_id: string; data_keys: string }>(
  "master_keys_in_use",
  "select * from master_keys_in_use()",
);

/** The message is meant for the terminal: it says which key is missing and what to do. */
export class MasterKeysMissing extends Error {
  constructor(missing: readonly MasterKeyUse[]) {
    const named = missing.map(({ id, dataKeys }) => `${shortKeyId(id)} (${dataKeys} data keys)`).join(", ");
    super(
      `SECRET_KEY lacks a master key under which tenants' secrets are sealed: ${named}. Add the key that was there before, behind the new one: SECRET_KEY=new,old. Only if it is lost for good: npm run rotate-secrets -- --drop-unopenable, after which tenants must enter their keys and credentials anew.`,
    );
    this.name = "MasterKeysMissing";
  }
}

export interface MasterKeyUse {
  id: string;
  /** How many data keys are wrapped under it. */
  dataKeys: number;
  /** Among the configured ones. */
  isKnown: boolean;
}

/** Which master keys wrap data keys now, those this process lacks included. */
export async function masterKeysInUse(services: Pick<Services, "db" | "secrets">): Promise<MasterKeyUse[]> {
  const known = masterKeyIds(services.secrets);
  const rows = await services.db.query(keysInUse, []);
  return rows.map((row) => ({
    id: row.master_key_id,
    dataKeys: Number(row.data_keys),
    isKnown: known.includes(row.master_key_id),
  }));
}

/** Stops a start that could open only some of the secrets: while it is rolled out, the processes before it go on. */
export async function checkMasterKeys(services: Pick<Services, "db" | "secrets">): Promise<void> {
  const missing = (await masterKeysInUse(services)).filter(({ isKnown }) => !isKnown);
  if (missing.length > 0) throw new MasterKeysMissing(missing);
}
