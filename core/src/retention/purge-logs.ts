import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";

const purge = statement<{ more: boolean }>("purge_deleted_log", "select purge_deleted_log($1, $2) as more");
const left = statement<{ conversation_id: string }>("deleted_logs_left", "select * from deleted_logs_left($1)");

const LOGS_AT_ONCE = 100;

/** Removes so many events of a conversation that is gone; true when more are left. */
export async function purgeDeletedLog(
  services: Pick<Services, "db">,
  conversation: string,
  portion: number,
): Promise<boolean> {
  const [row] = await services.db.query(purge, [conversation, portion]);
  return row?.more ?? false;
}

/** The logs of all conversations that are gone; false when time ran out first. */
export async function purgeDeletedLogs(
  services: Pick<Services, "db">,
  portion: number,
  inTime: () => boolean,
): Promise<boolean> {
  for (;;) {
    const logs = await services.db.query(left, [LOGS_AT_ONCE]);
    for (const { conversation_id: conversation } of logs) {
      while (await purgeDeletedLog(services, conversation, portion)) if (!inTime()) return false;
      if (!inTime()) return false;
    }
    if (logs.length < LOGS_AT_ONCE) return true;
  }
}
