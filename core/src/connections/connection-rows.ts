/** Connected accounts as Postgres holds them. */
import type { Connection, ConnectionStatus } from "@agent-engine/protocol/toolkits.ts";
import type { Id, TenantId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, parseId, uuidOf } from "../ids.ts";
import { keepSecret, forgetSecrets, readSecrets, type SecretId } from "../secrets/secrets.ts";
import type { Account, OwnerKey } from "../toolkits/toolkit-kind.ts";
import type { ToolkitId } from "../toolkits/installed/toolkit-rows.ts";

export type ConnectionId = Id<"conn">;

interface Row {
  id: string;
  toolkit_id: string;
  visitor_id: string | null;
  label: string | null;
  status: ConnectionStatus;
  is_default: boolean;
  account: Account;
  secret_id: string | null;
  scopes: string[];
  error: string | null;
  expires_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

export interface ConnectionRow {
  id: ConnectionId;
  toolkitId: ToolkitId;
  visitorId: VisitorId | null;
  label: string | null;
  status: ConnectionStatus;
  isDefault: boolean;
  account: Account;
  secretId: SecretId | null;
  scopes: string[];
  error: string | null;
  expiresAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

const COLUMNS =
  "id, toolkit_id, visitor_id, label, status, is_default, account, secret_id, scopes, error, expires_at, created_at, updated_at";

function fromRow(row: Row): ConnectionRow {
  return {
    id: idOf("conn", row.id),
    toolkitId: idOf("toolkit", row.toolkit_id),
    visitorId: row.visitor_id === null ? null : idOf("visitor", row.visitor_id),
    label: row.label,
    status: row.status,
    isDefault: row.is_default,
    account: row.account,
    secretId: row.secret_id === null ? null : idOf("secret", row.secret_id),
    scopes: row.scopes,
    error: row.error,
    expiresAt: row.expires_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

const byId = statement<Row>(
  "connection_by_id",
  `select ${COLUMNS} from connections where id = $1 and deleted_at is null`,
);
const lockedById = statement<Row>(
  "connection_lock",
  `select ${COLUMNS} from connections where id = $1 and deleted_at is null for no key update`,
);
const page = statement<Row>(
  "connections_page",
  `select ${COLUMNS} from connections
   where deleted_at is null and id < $1 and ($2::uuid is null or toolkit_id = $2) and ($3::uuid is null or visitor_id = $3)
   order by id desc limit $4`,
);
const ofTenant = statement<Row>(
  "connection_of_tenant",
  `select ${COLUMNS} from connections where toolkit_id = $1 and visitor_id is null and is_default and deleted_at is null`,
);
const ofVisitor = statement<Row>(
  "connection_of_visitor",
  `select ${COLUMNS} from connections where toolkit_id = $1 and visitor_id = $2 and deleted_at is null
   order by status = 'active' desc, id desc limit 1`,
);

/** The tenant's connection. @throws ProblemError `not_found` */
export async function findConnection(tx: Tx, id: string, options: { lock?: boolean } = {}): Promise<ConnectionRow> {
  const connectionId = parseId("conn", id, "connection");
  const [row] = await tx.query(options.lock ? lockedById : byId, [uuidOf(connectionId)]);
  if (!row) throw notFound("connection");
  return fromRow(row);
}

export interface ConnectionsQuery {
  toolkitId?: ToolkitId | undefined;
  visitorId?: VisitorId | undefined;
}

export async function connectionPage(
  tx: Tx,
  belowUuid: string,
  { toolkitId, visitorId }: ConnectionsQuery,
  limit: number,
): Promise<ConnectionRow[]> {
  const values = [belowUuid, toolkitId ? uuidOf(toolkitId) : null, visitorId ? uuidOf(visitorId) : null, limit];
  return (await tx.query(page, values)).map(fromRow);
}

/** The tenant's default account, or the visitor's; whatever its status. */
export async function connectionOf(
  tx: Tx,
  toolkitId: ToolkitId,
  visitorId: VisitorId | null,
): Promise<ConnectionRow | null> {
  const [row] =
    visitorId === null
      ? await tx.query(ofTenant, [uuidOf(toolkitId)])
      : await tx.query(ofVisitor, [uuidOf(toolkitId), uuidOf(visitorId)]);
  return row ? fromRow(row) : null;
}

const lockDefault = statement(
  "connection_lock_default",
  "select 1 from connections where toolkit_id = $1 and visitor_id is null and is_default and deleted_at is null for no key update",
);

/** Waits for whoever is about to make another account the default one: read which it is after this. */
export async function lockDefaultConnection(tx: Tx, toolkitId: ToolkitId): Promise<void> {
  await tx.query(lockDefault, [uuidOf(toolkitId)]);
}

const unsetDefault = statement(
  "connection_unset_default",
  "update connections set is_default = false where toolkit_id = $1 and visitor_id is null and is_default and id <> $2",
);

/** Before another one of the tenant's becomes it: a toolkit has one. */
export async function unsetOtherDefault(tx: Tx, row: Pick<ConnectionRow, "id" | "toolkitId">): Promise<void> {
  await tx.query(unsetDefault, [uuidOf(row.toolkitId), uuidOf(row.id)]);
}

const insert = statement(
  "connection_insert",
  `insert into connections (id, tenant_id, toolkit_id, visitor_id, label, status, is_default, created_at, updated_at)
   values ($1, $2, $3, $4, $5, 'initiated', $6, $7, $7)`,
);

export async function insertConnection(
  ctx: Ctx,
  tx: Tx,
  input: { toolkitId: ToolkitId; visitorId: VisitorId | null; label: string | null; isDefault: boolean },
): Promise<ConnectionId> {
  const id = ctx.services.newId("conn");
  const { toolkitId, visitorId, label, isDefault } = input;
  const now = new Date(ctx.services.clock());
  const visitor = visitorId === null ? null : uuidOf(visitorId);
  await tx.query(insert, [uuidOf(id), uuidOf(ctx.tenantId), uuidOf(toolkitId), visitor, label, isDefault, now]);
  return id;
}

const save = statement(
  "connection_save",
  `update connections set label = $2, status = $3, is_default = $4, account = $5, secret_id = $6, scopes = $7, error = $8,
     expires_at = $9, checked_at = case when $3 = 'active' then $10 else checked_at end, updated_at = $10
   where id = $1`,
);

/** Writes what differs. `secret`: the tokens to keep in place of the old ones; null forgets them. */
export async function saveConnection(
  ctx: Ctx,
  tx: Tx,
  row: ConnectionRow,
  change: Partial<Omit<ConnectionRow, "id" | "secretId">> & { secret?: string | null | undefined },
): Promise<ConnectionRow> {
  const { secret, ...fields } = change;
  let { secretId } = row;
  if (secret !== undefined) {
    if (secretId) await forgetSecrets(tx, [secretId]);
    secretId = secret === null ? null : await keepSecret(ctx, tx, tokensOf(row.id), secret);
  }
  const next = { ...row, ...fields, secretId };
  await tx.query(save, [
    uuidOf(row.id),
    next.label,
    next.status,
    next.isDefault,
    JSON.stringify(next.account),
    secretId === null ? null : uuidOf(secretId),
    next.scopes,
    next.error,
    next.expiresAt,
    new Date(ctx.services.clock()),
  ]);
  return next;
}

const tokensOf = (connectionId: ConnectionId) => ({ purpose: "connection", ownerId: connectionId, field: "tokens" });

/** Its tokens, opened; null when it has none. @throws MasterKeyMissing, CannotOpen */
export async function openTokens(ctx: Ctx, tx: Tx, { id, secretId }: ConnectionRow): Promise<string | null> {
  if (secretId === null) return null;
  const opened = await readSecrets(ctx, tx, [{ id: secretId, ...tokensOf(id) }]);
  return opened.get(secretId) ?? null;
}

/** Whose account it is, for the other side. */
export function ownerKeyOf(tenantId: TenantId, visitorId: VisitorId | null): OwnerKey {
  return visitorId === null ? `tenant:${tenantId}` : `tenant:${tenantId}:visitor:${visitorId}`;
}

export function toConnection(row: ConnectionRow): Connection {
  return {
    id: row.id,
    toolkitId: row.toolkitId,
    visitorId: row.visitorId,
    label: row.label,
    status: row.status,
    isDefault: row.isDefault,
    scopes: row.scopes,
    error: row.error,
    expiresAt: row.expiresAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
