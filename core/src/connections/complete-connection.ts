/** The way to the other side and back, as a browser without any credential goes it: its `state` says whose it is. */
import { createHash, randomBytes } from "node:crypto";
import type { RunId, TenantId } from "@agent-engine/protocol/ids.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant, type Tx } from "../db/transaction.ts";
import { idOf } from "../ids.ts";
import { connectInterrupts } from "../runs/connect-interrupts.ts";
import { readSecrets, type SecretId } from "../secrets/secrets.ts";
import type { Account, AccountStatus, KindDeps } from "../toolkits/toolkit-kind.ts";
import {
  findConnection,
  lockDefaultConnection,
  ownerKeyOf,
  saveConnection,
  connectionOf,
  toConnection,
  unsetOtherDefault,
  type ConnectionId,
  type ConnectionRow,
} from "./connection-rows.ts";
import { linkSecret, stateHash } from "./link-connection.ts";
import { openConnector } from "./open-kind.ts";

const tenantOf = statement<{ tenant_id: string | null }>("tenant_of_link", "select tenant_of_link($1) as tenant_id");

interface LinkRow {
  connection_id: string;
  run_id: string | null;
  url: string;
  account: Account;
  secret_id: string | null;
  browser_hash: Buffer | null;
}

const start = statement<{ url: string }>(
  "connection_link_start",
  `update connection_links set browser_hash = $2
   where state_hash = $1 and used_at is null and browser_hash is null and expires_at > $3 returning url`,
);
const take = statement<LinkRow>(
  "connection_link_take",
  `update connection_links set used_at = $2
   where state_hash = $1 and used_at is null and expires_at > $2 and browser_hash = $3
   returning connection_id, run_id, url, account, secret_id, browser_hash`,
);

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();

async function tenantOfState(services: Services, state: string): Promise<TenantId | null> {
  const [row] = await services.db.query(tenantOf, [stateHash(state)]);
  return row?.tenant_id ? idOf("tenant", row.tenant_id) : null;
}

/**
 * Sends a browser on its way, once: the link goes to nobody else after it. `browser` is what its cookie must hold when
 * it comes back.
 *
 * @returns null when the link was used, has expired, or never was
 */
export async function startLink(services: Services, state: string): Promise<{ url: string; browser: string } | null> {
  const tenantId = await tenantOfState(services, state);
  if (!tenantId) return null;
  const browser = randomBytes(32).toString("base64url");
  const values = [stateHash(state), sha256(browser), new Date(services.clock())];
  const [row] = await inTenant(services.db, tenantId, (tx) => tx.query(start, values));
  return row ? { url: row.url, browser } : null;
}

export type LinkEnd =
  | { kind: "connected"; title: string; label: string | null }
  /** The person said no, or the other side did. */
  | { kind: "failed"; title: string }
  /** Used before, expired, another browser's, or never made. */
  | { kind: "unknown" };

export interface ReturnedLink {
  state: string;
  /** Of its cookie. */
  browser: string | null;
  query: Readonly<Record<string, string>>;
  callbackUrl: string;
}

const ASK_MS = 15_000;

/**
 * Somebody comes back from the other side. What the query says is asked again there, and must be the owner's account.
 * The run that waits for it goes on by itself.
 */
export async function completeLink(services: Services, deps: KindDeps, input: ReturnedLink): Promise<LinkEnd> {
  const tenantId = await tenantOfState(services, input.state);
  if (!tenantId || input.browser === null) return { kind: "unknown" };
  const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "connection-callback" };
  const hash = stateHash(input.state);
  const begun = await inTenant(services.db, tenantId, async (tx) => {
    const [link] = await tx.query(take, [hash, new Date(services.clock()), sha256(input.browser ?? "")]);
    if (!link) return null;
    const connection = await findConnection(tx, idOf("conn", link.connection_id));
    const opened = await openConnector(ctx, tx, connection.toolkitId);
    return { link, connection, opened, secret: await openLinkSecret(ctx, tx, connection.id, hash, link) };
  });
  if (!begun) return { kind: "unknown" };
  const { link, connection, opened, secret } = begun;
  const { title } = opened.toolkit;
  const ownerKey = ownerKeyOf(tenantId, connection.visitorId);
  const returned = { ...input, ownerKey, account: link.account, secret };
  const end = await opened.connector
    .complete(opened.settings, deps, returned, AbortSignal.timeout(ASK_MS))
    .catch((error: unknown) => {
      services.log.warn({ err: error, tenantId, connectionId: connection.id }, "an account could not be connected");
      return null;
    });
  const runId = link.run_id === null ? null : idOf("run", link.run_id);
  if (end?.status !== "active") {
    await settle(ctx, connection.id, runId, {
      // What worked before goes on working.
      status: connection.status === "active" ? "active" : "failed",
      error: "The account was not connected: it was declined, or the other side refused it.",
    });
    return { kind: "failed", title };
  }
  const { account, scopes, expiresAt } = end;
  const row = await settle(ctx, connection.id, runId, {
    status: "active",
    error: null,
    account,
    scopes,
    expiresAt: expiresAt === null ? null : new Date(expiresAt),
    label: connection.label ?? end.label,
    secret: end.secret ?? null,
  });
  return { kind: "connected", title, label: row.label };
}

async function openLinkSecret(
  ctx: Ctx,
  tx: Tx,
  connectionId: ConnectionId,
  hash: Buffer,
  link: LinkRow,
): Promise<string | null> {
  if (link.secret_id === null) return null;
  const id: SecretId = idOf("secret", link.secret_id);
  const opened = await readSecrets(ctx, tx, [{ id, ...linkSecret(connectionId, hash) }]);
  return opened.get(id) ?? null;
}

async function settle(
  ctx: Ctx,
  connectionId: ConnectionId,
  runId: RunId | null,
  change: Parameters<typeof saveConnection>[3] & { status: AccountStatus },
): Promise<ConnectionRow> {
  return inTenant(ctx.services.db, ctx.tenantId, async (tx) => {
    const before = await findConnection(tx, connectionId, { lock: true });
    const isDefault = before.isDefault || (change.error === null && (await replacesDefault(tx, before)));
    if (isDefault && !before.isDefault) await unsetOtherDefault(tx, before);
    const after = await saveConnection(ctx, tx, before, { ...change, isDefault });
    const target = { kind: "connection", id: connectionId };
    const changed = { before: { ...toConnection(before) }, after: { ...toConnection(after) } };
    if (runId !== null && change.error === null) {
      await connectInterrupts({ ...ctx, tx }, { runId, toolkitId: after.toolkitId, connectionId });
    }
    await audit(ctx, tx, { action: "connection.returned", target, ...changed });
    return after;
  });
}

/** The tenant's first account that works is the default one, also where somebody had begun to connect another and left. */
async function replacesDefault(tx: Tx, { toolkitId, visitorId }: ConnectionRow): Promise<boolean> {
  if (visitorId !== null) return false;
  await lockDefaultConnection(tx, toolkitId);
  const current = await connectionOf(tx, toolkitId, null);
  return current === null || current.status === "initiated" || current.status === "failed";
}
