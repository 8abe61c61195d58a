import type { TenantId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant, transact, type Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { idOf } from "../ids.ts";
import type { KindDeps } from "../toolkits/toolkit-kind.ts";
import type { ToolConnection } from "../toolkits/toolkit.ts";
import type { ToolkitId } from "../toolkits/installed/toolkit-rows.ts";
import {
  connectionOf,
  findConnection,
  openTokens,
  ownerKeyOf,
  saveConnection,
  type ConnectionId,
  type ConnectionRow,
} from "./connection-rows.ts";
import { openConnector } from "./open-kind.ts";

/** Tokens that end within this are renewed before they are used. */
const MARGIN_MS = 60_000;
const ASK_MS = 15_000;

export interface WantedConnection {
  toolkitId: ToolkitId;
  /** Whose: the visitor's, or the tenant's when null. */
  visitorId: VisitorId | null;
  /** Which of the tenant's, by the agent's word; its default one otherwise. */
  connectionId?: string | undefined;
}

/** The account that a call uses, ready to use; null when there is none that works. Ids never come from a model or a browser. */
export async function useConnection(
  ctx: Ctx,
  deps: KindDeps,
  wanted: WantedConnection,
): Promise<ToolConnection | null> {
  const found = await transact(ctx, async (tx) => {
    const row = await findWanted(tx, wanted);
    if (row?.status !== "active") return null;
    const isEnding = row.expiresAt !== null && row.expiresAt.getTime() - ctx.services.clock() < MARGIN_MS;
    return { row, isEnding, secret: isEnding ? null : await openTokens(ctx, tx, row) };
  });
  if (!found?.isEnding) return found && usable(ctx, found.row, found.secret);
  const renewed = await checkConnection(ctx, deps, found.row.id, "renew");
  if (renewed.status !== "active") return null;
  return usable(ctx, renewed, await transact(ctx, (tx) => openTokens(ctx, tx, renewed)));
}

function usable(ctx: Ctx, { id, account, visitorId }: ConnectionRow, secret: string | null): ToolConnection {
  return { id, credential: { account, secret, ownerKey: ownerKeyOf(ctx.tenantId, visitorId) } };
}

async function findWanted(
  tx: Tx,
  { toolkitId, visitorId, connectionId }: WantedConnection,
): Promise<ConnectionRow | null> {
  if (visitorId !== null || connectionId === undefined) return connectionOf(tx, toolkitId, visitorId);
  const row = await findConnection(tx, connectionId).catch((error: unknown) => {
    if (error instanceof ProblemError) return null;
    throw error;
  });
  return row?.toolkitId === toolkitId && row.visitorId === null ? row : null;
}

/** Asks the other side whether an account is still good, and keeps what it says. One at a time for each account. */
export async function checkConnection(
  ctx: Ctx,
  deps: KindDeps,
  connectionId: ConnectionId,
  why: "renew" | "ask",
): Promise<ConnectionRow> {
  return transact(ctx, async (tx) => {
    const row = await findConnection(tx, connectionId, { lock: true });
    if (row.status !== "active") return row;
    // Another one renewed it while this one waited for the lock.
    if (why === "renew" && row.expiresAt && row.expiresAt.getTime() - ctx.services.clock() >= MARGIN_MS) return row;
    const { connector, settings } = await openConnector(ctx, tx, row.toolkitId);
    const secret = await openTokens(ctx, tx, row);
    const account = { ownerKey: ownerKeyOf(ctx.tenantId, row.visitorId), account: row.account, secret };
    const found = await connector
      .check(settings, deps, account, AbortSignal.timeout(ASK_MS))
      .catch((error: unknown) => {
        ctx.services.log.warn({ err: error, connectionId }, "an account could not be checked");
        return null;
      });
    // Not to have been told is not to be told that it has ended.
    if (!found) return row;
    return saveConnection(ctx, tx, row, {
      status: found.status,
      error: found.status === "active" ? null : `The account is ${found.status} at the other side. Connect it anew.`,
      ...(found.secret === undefined ? {} : { secret: found.secret }),
      ...(found.expiresAt === undefined
        ? {}
        : { expiresAt: found.expiresAt === null ? null : new Date(found.expiresAt) }),
    });
  });
}

const due = statement<{ tenant_id: string; connection_id: string }>(
  "connections_to_check",
  "select * from connections_to_check($1, $2)",
);
const CHECK_EVERY_MS = 15 * 60_000;

/** Checks the accounts that nobody has asked about for a while. Answers how many. */
export async function checkConnections(services: Services, deps: KindDeps, atMost: number): Promise<number> {
  const before = new Date(services.clock() - CHECK_EVERY_MS);
  const rows = await services.db.query(due, [before, atMost]);
  for (const row of rows) {
    const tenantId = idOf("tenant", row.tenant_id);
    const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "connection-check" };
    await checkConnection(ctx, deps, idOf("conn", row.connection_id), "ask").catch((error: unknown) => {
      services.log.warn({ err: error, tenantId }, "a connection could not be checked");
    });
  }
  return rows.length;
}

const ofAccount = statement<{ tenant_id: string; connection_id: string }>(
  "tenant_of_account",
  "select * from tenant_of_account($1)",
);

/** The other side says that an account has ended. */
export async function markAccountExpired(services: Services, connectedAccountId: string): Promise<number> {
  const rows = await services.db.query(ofAccount, [connectedAccountId]);
  for (const row of rows) {
    const tenantId: TenantId = idOf("tenant", row.tenant_id);
    const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "connection-expired" };
    await inTenant(services.db, tenantId, async (tx) => {
      const connection = await findConnection(tx, idOf("conn", row.connection_id), { lock: true });
      if (connection.status !== "active") return;
      await saveConnection(ctx, tx, connection, {
        status: "expired",
        error: "The account has expired. Connect it anew.",
      });
    });
  }
  return rows.length;
}
