import type { Connection } from "@agent-engine/protocol/toolkits.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { auditStaff } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { isId, type Id } from "@agent-engine/protocol/ids.ts";
import { uuidOf } from "../ids.ts";
import type { KindDeps } from "../toolkits/toolkit-kind.ts";
import {
  connectionPage,
  findConnection,
  openTokens,
  ownerKeyOf,
  saveConnection,
  toConnection,
  unsetOtherDefault,
  type ConnectionsQuery,
} from "./connection-rows.ts";
import { openConnector } from "./open-kind.ts";

/** Staff see all of the tenant's connections; a visitor their own. */
export async function listConnections(
  ctx: Ctx,
  query: { toolkitId?: string | undefined; visitorId?: string | undefined },
  page: PageRequest,
): Promise<Page<Connection>> {
  const below = cursorUuid("conn", page.cursor);
  return transact(ctx, async (tx) => {
    const filter: ConnectionsQuery = {
      toolkitId: filterId("toolkit", query.toolkitId),
      visitorId: ctx.actor.kind === "visitor" ? ctx.actor.visitorId : filterId("visitor", query.visitorId),
    };
    return pageOf(await connectionPage(tx, below, filter, page.limit + 1), page, toConnection);
  });
}

function filterId<Prefix extends string>(prefix: Prefix, value: string | undefined): Id<Prefix> | undefined {
  if (value === undefined || isId(prefix, value)) return value;
  throw new ProblemError("invalid_request", `\`${prefix}Id\` must be the id of a ${prefix}.`);
}

export async function getConnection(ctx: Ctx, id: string): Promise<Connection> {
  return transact(ctx, async (tx) => toConnection(await findConnection(tx, id)));
}

/** Changes how one of the tenant's accounts is called, or makes it the one that is used where none is named. */
export async function updateConnection(
  ctx: Ctx,
  id: string,
  change: { label?: string | undefined; isDefault?: true | undefined },
): Promise<Connection> {
  return transact(ctx, async (tx) => {
    const row = await findConnection(tx, id, { lock: true });
    if (change.isDefault && row.visitorId !== null) {
      throw new ProblemError("invalid_request", "A visitor's account is used for that visitor only.");
    }
    if (change.isDefault) await unsetOtherDefault(tx, row);
    const after = await saveConnection(ctx, tx, row, {
      ...(change.label === undefined ? {} : { label: change.label }),
      ...(change.isDefault ? { isDefault: true } : {}),
    });
    const target = { kind: "connection", id: row.id };
    const changed = { before: { ...toConnection(row) }, after: { ...toConnection(after) } };
    await auditStaff(ctx, tx, { action: "connection.updated", target, ...changed });
    return toConnection(after);
  });
}

const remove = statement("connection_delete", "update connections set deleted_at = $2, account = '{}' where id = $1");

const ASK_MS = 15_000;

/**
 * Disconnects an account, at the other side too. Where that does not answer, it is forgotten here all the same: from then
 * on no run can use it.
 */
export async function deleteConnection(ctx: Ctx, deps: KindDeps, id: string): Promise<void> {
  const found = await transact(ctx, async (tx) => {
    const row = await findConnection(tx, id);
    if (ctx.actor.kind === "visitor" && row.visitorId !== ctx.actor.visitorId) {
      // Answered as one that never was.
      return findConnection(tx, "");
    }
    return row;
  });
  const isKnown =
    found.status !== "initiated" && Object.keys(found.account).length + Number(found.secretId !== null) > 0;
  if (isKnown) {
    const { opened, secret } = await transact(ctx, async (tx) => ({
      opened: await openConnector(ctx, tx, found.toolkitId),
      secret: await openTokens(ctx, tx, found),
    }));
    const account = { ownerKey: ownerKeyOf(ctx.tenantId, found.visitorId), account: found.account, secret };
    const { connector, settings } = opened;
    await connector.revoke(settings, deps, account, AbortSignal.timeout(ASK_MS)).catch((error: unknown) => {
      ctx.services.log.warn({ err: error, connectionId: found.id }, "an account could not be revoked upstream");
    });
  }
  await transact(ctx, async (tx) => {
    const row = await findConnection(tx, found.id, { lock: true });
    await saveConnection(ctx, tx, row, { status: "revoked", isDefault: false, account: {}, secret: null });
    await tx.query(remove, [uuidOf(row.id), new Date(ctx.services.clock())]);
    const target = { kind: "connection", id: row.id };
    await auditStaff(ctx, tx, { action: "connection.deleted", target, before: { ...toConnection(row) } });
  });
}
