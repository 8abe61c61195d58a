import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { repeat, type Repeated } from "../repeat.ts";
import { openDataKey, type DataKeyRow } from "./data-keys.ts";
import { masterKeyIds, wrapDataKey } from "./master-keys.ts";
import { CannotOpen } from "./sealed.ts";

type Rewrapper = Pick<Services, "db" | "secrets" | "log">;

const BATCH = 100;
const EVERY_MS = 60_000;

const notUnder = statement<{ tenant_id: string; data_key_id: string; master_key_id: string }>(
  "data_keys_not_under",
  "select * from data_keys_not_under($1, $2, $3)",
);

const lock = statement<DataKeyRow>(
  "data_key_lock",
  "select id as data_key_id, wrapped from data_keys where id = $1 and master_key_id = $2 for no key update",
);

const rewrap = statement("data_key_rewrap", "update data_keys set wrapped = $2, master_key_id = $3 where id = $1");

export interface Rewrapped {
  rewrapped: number;
  /** Wrapped under keys that this process lacks, or damaged, and left alone. */
  unopenable: number;
}

/**
 * Wraps every data key that lies under another master key under the first one. The values sealed under a data key stay
 * as they are. Each is one short transaction, so this may run beside everything else, in several processes, and stop
 * anywhere.
 */
export async function rewrapDataKeys(services: Rewrapper): Promise<Rewrapped> {
  const [first] = masterKeyIds(services.secrets);
  const done: Rewrapped = { rewrapped: 0, unopenable: 0 };
  for (let after: string | null = null; ;) {
    const rows: { tenant_id: string; data_key_id: string; master_key_id: string }[] = await services.db.query(
      notUnder,
      [first, after, BATCH],
    );
    for (const row of rows) done[await rewrapOne(services, row)]++;
    after = rows.at(-1)?.data_key_id ?? null;
    if (after === null) return done;
  }
}

async function rewrapOne(
  services: Rewrapper,
  row: { tenant_id: string; data_key_id: string; master_key_id: string },
): Promise<keyof Rewrapped> {
  const tenantId = idOf("tenant", row.tenant_id);
  return inTenant(services.db, tenantId, async (tx) => {
    const [locked] = await tx.query(lock, [row.data_key_id, row.master_key_id]);
    // Another process was quicker.
    if (!locked) return "rewrapped";
    try {
      const { id, key } = openDataKey({ services, tenantId }, locked);
      const place = { tenant: uuidOf(tenantId), dataKey: id.toString("hex") };
      const { wrapped, masterKeyId } = wrapDataKey(services.secrets, place, key);
      await tx.query(rewrap, [row.data_key_id, wrapped, masterKeyId]);
      return "rewrapped";
    } catch (error) {
      if (!(error instanceof CannotOpen)) throw error;
      services.log.error({ err: error, tenantId }, "a data key cannot be wrapped anew");
      return "unopenable";
    }
  });
}

/** Does so every minute: looking for what is left costs one statement on an index. */
export function watchMasterKeys(services: Rewrapper): Repeated {
  return repeat(services.log, EVERY_MS, async () => {
    const { rewrapped } = await rewrapDataKeys(services);
    if (rewrapped > 0) services.log.info({ rewrapped }, "data keys wrapped under the first master key");
  });
}
