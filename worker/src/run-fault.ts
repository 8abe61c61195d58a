import { isPermanent } from "@agent-engine/core/db/permanent-error.ts";
import { isPostgresUnavailable } from "@agent-engine/core/db/postgres-unavailable.ts";
import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import { RunAbandoned } from "./engine/effects.ts";

/** SQLSTATE classes that blame the moment: conflicts, resources, an operator, a statement that took too long, the system. */
const OF_THE_MOMENT = /^(25|40|53|55|57|58)/;

/**
 * What in a run itself made its worker give up, so that it would make the next one give up too; null when it was
 * Postgres, the worker's end or the lease. Such faults count as crashes, or the run would go round for ever.
 */
export function runFault(error: unknown): string | null {
  if (error instanceof LeaseLost || error instanceof RunAbandoned) return null;
  for (let each = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth++) {
    if (isPermanent(each)) return each.message;
    if ("code" in each && OF_THE_MOMENT.test(String(each.code))) return null;
  }
  if (isPostgresUnavailable(error)) return null;
  return error instanceof Error ? error.message : String(error);
}
