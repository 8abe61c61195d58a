import type { ApiKeyId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import type { Database } from "../db/database.ts";
import { statement } from "../db/statement.ts";
import { uuidOf } from "../ids.ts";

const MINUTE_MS = 60_000;
const MAX_REMEMBERED = 10_000;

const note = statement("note_api_key_use", "select note_api_key_use($1)");

/** When this process last wrote down a key's use, in ms since the epoch. */
const noted = new WeakMap<Database, Map<ApiKeyId, number>>();

/** Writes down that a key is in use, once a minute, and keeps no request waiting for it. */
export function noteApiKeyUse({ db, clock }: Pick<Services, "db" | "clock">, id: ApiKeyId): void {
  const known = noted.get(db) ?? new Map<ApiKeyId, number>();
  noted.set(db, known);
  const now = clock();
  if (now - (known.get(id) ?? 0) < MINUTE_MS) return;
  const [oldest] = known.keys();
  if (known.size >= MAX_REMEMBERED && oldest !== undefined) known.delete(oldest);
  known.delete(id);
  known.set(id, now);
  db.query(note, [[uuidOf(id)]]).catch(() => known.delete(id));
}
