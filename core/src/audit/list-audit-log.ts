import type { AuditEntry } from "@agent-engine/protocol/audit-log.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import type { PageRequest } from "../db/page.ts";
import { statement, type Statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { AUDIT_COLUMNS, toAuditEntry, type AuditRow } from "./entry.ts";

export interface AuditFilter {
  /** Id of a member, key or visitor. */
  actor?: string | undefined;
  /** For instance `agent.published`. */
  action?: string | undefined;
  target?: string | undefined;
  /** ISO 8601 UTC with milliseconds: from then on, and before then. */
  from?: string | undefined;
  to?: string | undefined;
}

const CONDITIONS = {
  actor: "actor = ?",
  action: "action = ?",
  target: "target = ?",
  from: "at >= ?",
  to: "at < ?",
  below: "seq < ?",
  above: "seq > ?",
} as const;
type Condition = keyof typeof CONDITIONS;

/**
 * The entries of a tenant that fit. Each set of conditions is a statement of its own: one statement for all of them
 * would be planned for none, and read the whole chain.
 */
function matching(conditions: readonly Condition[], order: "asc" | "desc"): Statement<AuditRow> {
  let parameter = 2;
  const where = conditions.map((name) => `and ${CONDITIONS[name].replaceAll("?", () => `$${++parameter}`)}`);
  return statement<AuditRow>(
    ["audit_list", order, ...conditions].join("_"),
    `select ${AUDIT_COLUMNS} from audit_log where tenant_id = $1 ${where.join(" ")} order by seq ${order} limit $2`,
  );
}

function conditionsOf(filter: AuditFilter): [Condition, unknown][] {
  const names = ["actor", "action", "target", "from", "to"] as const;
  return names.flatMap((name): [Condition, unknown][] => (filter[name] === undefined ? [] : [[name, filter[name]]]));
}

async function read(
  ctx: Ctx,
  conditions: readonly [Condition, unknown][],
  order: "asc" | "desc",
  limit: number,
): Promise<AuditRow[]> {
  const select = matching(
    conditions.map(([name]) => name),
    order,
  );
  const values = conditions.map(([, value]) => value);
  return transact(ctx, (tx) => tx.query(select, [uuidOf(ctx.tenantId), limit, ...values]));
}

/** The tenant's audit log, newest first. The cursor is the `seq` of the last entry shown. */
export async function listAuditLog(ctx: Ctx, page: PageRequest, filter: AuditFilter): Promise<Page<AuditEntry>> {
  if (page.cursor !== null && !/^[1-9]\d{0,14}$/.test(page.cursor)) {
    throw new ProblemError(
      "invalid_request",
      "`cursor` is not one this list gave. Use the `nextCursor` of the page before.",
    );
  }
  const below: [Condition, unknown][] = page.cursor === null ? [] : [["below", page.cursor]];
  const rows = await read(ctx, [...conditionsOf(filter), ...below], "desc", page.limit + 1);
  const items = rows.slice(0, page.limit).map(toAuditEntry);
  return { items, nextCursor: rows.length > page.limit ? String(items.at(-1)?.seq) : null };
}

const EXPORT_PAGE = 500;

/** Every entry that fits, oldest first, read in portions: the whole is never in memory, and no transaction stays open. */
export async function* exportAuditLog(ctx: Ctx, filter: AuditFilter): AsyncGenerator<AuditEntry> {
  for (let after = "0"; ;) {
    const rows = await read(ctx, [...conditionsOf(filter), ["above", after]], "asc", EXPORT_PAGE);
    for (const row of rows) yield toAuditEntry(row);
    const last = rows.at(-1);
    if (!last || rows.length < EXPORT_PAGE) return;
    after = last.seq;
  }
}
