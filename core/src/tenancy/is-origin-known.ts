import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";

const known = statement<{ known: boolean }>("is_origin_known", "select is_origin_known($1) as known");

/**
 * True when any site, of any tenant, has one of these patterns among its allowed origins. A browser's preflight says
 * where it comes from but not which site it is about, so this is all that can be asked then.
 */
export async function isOriginKnown(services: Pick<Services, "db">, patterns: readonly string[]): Promise<boolean> {
  const [row] = await services.db.query(known, [patterns]);
  return row?.known ?? false;
}
