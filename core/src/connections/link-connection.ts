import { createHash, randomBytes } from "node:crypto";
import type { ConnectionLink } from "@agent-engine/protocol/toolkits.ts";
import type { RunId, VisitorId } from "@agent-engine/protocol/ids.ts";
import { auditStaff } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { closedInterrupt } from "../runs/closed-interrupt.ts";
import { findRun } from "../runs/get-run.ts";
import { keepSecret, type SecretPlace } from "../secrets/secrets.ts";
import { isAllowed } from "../members/permissions.ts";
import { findToolkit, type ToolkitId } from "../toolkits/installed/toolkit-rows.ts";
import type { KindDeps } from "../toolkits/toolkit-kind.ts";
import {
  connectionOf,
  findConnection,
  insertConnection,
  ownerKeyOf,
  toConnection,
  type ConnectionId,
  type ConnectionRow,
} from "./connection-rows.ts";
import { openConnector } from "./open-kind.ts";

/** Either a run that waits and its interrupt, by the visitor; or a toolkit, by staff for the tenant's own account. */
export interface LinkConnection {
  runId?: string | undefined;
  interruptId?: string | undefined;
  toolkitId?: string | undefined;
  label?: string | undefined;
  /** Connects this one anew. */
  connectionId?: string | undefined;
}

const LINK_MS = 10 * 60_000;
/** The other side is asked while a person waits. */
const ASK_MS = 15_000;

const insertLink = statement(
  "connection_link_insert",
  `insert into connection_links (state_hash, tenant_id, connection_id, run_id, url, account, secret_id, expires_at, created_at)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
);

export function stateHash(state: string): Buffer {
  return createHash("sha256").update(state).digest();
}

/** Where what the way back needs is kept. */
export function linkSecret(connectionId: ConnectionId, hash: Buffer): SecretPlace {
  return { purpose: "connection_link", ownerId: connectionId, field: hash.toString("hex") };
}

interface Wanted {
  toolkitId: ToolkitId;
  visitorId: VisitorId | null;
  runId: RunId | null;
  connection: ConnectionRow | null;
  label: string | null;
}

/**
 * Begins to connect an account, and answers where the person must go. Whose it will be follows from who asks and from
 * the run, never from what they say. `apiUrl`: where this API answers.
 */
export async function linkConnection(
  ctx: Ctx,
  deps: KindDeps,
  input: LinkConnection,
  apiUrl: string,
): Promise<ConnectionLink> {
  const state = randomBytes(32).toString("base64url");
  const { wanted, opened } = await transact(ctx, async (tx) => {
    await checkNamed(ctx, tx, input);
    const asked = input.runId === undefined ? await ofTenant(ctx, tx, input) : await ofRun(ctx, tx, input);
    return { wanted: asked, opened: await openConnector(ctx, tx, asked.toolkitId) };
  });
  const asking = {
    ownerKey: ownerKeyOf(ctx.tenantId, wanted.visitorId),
    callbackUrl: `${apiUrl}/v1/connections/callback`,
    state,
    label: wanted.connection ? wanted.connection.label : wanted.label,
  };
  const { connector, settings } = opened;
  const link = await connector.link(settings, deps, asking, AbortSignal.timeout(ASK_MS)).catch((error: unknown) => {
    if (error instanceof ProblemError) throw error;
    ctx.services.log.warn({ err: error, toolkitId: wanted.toolkitId }, "an account could not be linked");
    throw new ProblemError("unavailable", `${opened.toolkit.title} does not answer. Try again in a moment.`, {
      retryAfterSeconds: 5,
      cause: error,
    });
  });
  const now = ctx.services.clock();
  const expiresAt = new Date(Math.min(now + LINK_MS, link.expiresAt === null ? Infinity : Date.parse(link.expiresAt)));
  return transact(ctx, async (tx) => {
    // One that is there already stays as it is until the new account works.
    const { connection } = wanted;
    const row = await findConnection(tx, connection?.id ?? (await insertConnection(ctx, tx, await rowOf(tx, wanted))));
    const hash = stateHash(state);
    const secretId =
      link.secret === undefined ? null : await keepSecret(ctx, tx, linkSecret(row.id, hash), link.secret);
    await tx.query(insertLink, [
      hash,
      uuidOf(ctx.tenantId),
      uuidOf(row.id),
      wanted.runId === null ? null : uuidOf(wanted.runId),
      link.url,
      JSON.stringify(link.account),
      secretId === null ? null : uuidOf(secretId),
      expiresAt,
      new Date(now),
    ]);
    const target = { kind: "connection", id: row.id };
    await auditStaff(ctx, tx, { action: "connection.linked", target, after: { ...toConnection(row) } });
    const url = `${apiUrl}/v1/connections/start?state=${state}`;
    return { connectionId: row.id, url, expiresAt: expiresAt.toISOString() };
  });
}

/** What is named must be the caller's to name, and one of the two ways. */
async function checkNamed(
  ctx: Ctx,
  tx: Tx,
  { runId, interruptId, toolkitId, connectionId }: LinkConnection,
): Promise<void> {
  if (ctx.actor.kind === "visitor" && (toolkitId !== undefined || connectionId !== undefined))
    throw notFound("toolkit");
  if (toolkitId !== undefined) await findToolkit(tx, toolkitId);
  if (connectionId !== undefined) await findConnection(tx, connectionId);
  const isOneWay = (toolkitId === undefined) !== (runId === undefined);
  if (isOneWay && (runId === undefined) === (interruptId === undefined)) return;
  throw new ProblemError("invalid_request", "Name either `runId` and `interruptId`, or a `toolkitId`.");
}

async function rowOf(tx: Tx, { toolkitId, visitorId, label }: Wanted) {
  const isDefault = visitorId === null && (await connectionOf(tx, toolkitId, null)) === null;
  return { toolkitId, visitorId, label, isDefault };
}

async function ofRun(ctx: Ctx, tx: Tx, input: LinkConnection): Promise<Wanted> {
  const runId = parseId("run", input.runId ?? "", "run");
  const run = await findRun(ctx, tx, runId);
  const interrupt = run.interrupts.find(({ id }) => id === input.interruptId);
  if (!interrupt) throw await closedInterrupt(tx, run, input.interruptId ?? "");
  const toolkitId = interrupt.metadata?.toolkitId;
  if (interrupt.reason !== "connection" || typeof toolkitId !== "string") {
    throw new ProblemError("invalid_request", "`interruptId` is not about an account to be connected.");
  }
  if (ctx.actor.kind !== "visitor") {
    throw new ProblemError("forbidden", "A visitor's account is connected by the visitor, in the chat.");
  }
  const { visitorId } = ctx.actor;
  const toolkit = await findToolkit(tx, toolkitId);
  const connection = await connectionOf(tx, toolkit.id, visitorId);
  return { toolkitId: toolkit.id, visitorId, runId, connection, label: null };
}

async function ofTenant(ctx: Ctx, tx: Tx, input: LinkConnection): Promise<Wanted> {
  if (ctx.actor.kind === "visitor" || !isAllowed(ctx.actor, "connections:write")) {
    throw new ProblemError("forbidden", "Connecting the tenant's accounts needs the permission connections:write.");
  }
  const toolkit = await findToolkit(tx, input.toolkitId ?? "");
  const connection = input.connectionId === undefined ? null : await findConnection(tx, input.connectionId);
  if (connection && (connection.toolkitId !== toolkit.id || connection.visitorId !== null)) {
    throw new ProblemError("invalid_request", "`connectionId` is not one of the tenant's own for this toolkit.");
  }
  return { toolkitId: toolkit.id, visitorId: null, runId: null, connection, label: input.label ?? null };
}
