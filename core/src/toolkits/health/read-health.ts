import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { ConnectionStatus, HealthWindow, ToolkitHealth } from "@agent-engine/protocol/toolkits.ts";
import type { Ctx } from "../../context.ts";
import type { PageRequest } from "../../db/page.ts";
import { transact, type Tx } from "../../db/transaction.ts";
import { idOf, uuidOf } from "../../ids.ts";
import { adviceOn } from "../failure-table.ts";
import { findToolkit } from "../installed/toolkit-rows.ts";
import {
  callsOf,
  connectionsOf,
  databaseTime,
  lastFailuresOf,
  openCircuitsOf,
  toolkitsAfter,
  type CallsRow,
  type CircuitRow,
  type FailureRow,
  type NamedToolkit,
} from "./health-rows.ts";

const SECONDS: Record<HealthWindow, number> = { "15m": 900, "1h": 3_600, "24h": 86_400 };

/** How well one installed toolkit is. @throws ProblemError `not_found` */
export function getToolkitHealth(
  ctx: Ctx,
  input: { toolkitId: string; window?: HealthWindow | undefined },
): Promise<ToolkitHealth> {
  return transact(ctx, async (tx) => {
    const { id, kind, name, title } = await findToolkit(tx, input.toolkitId);
    const [health] = await healthOf(ctx, tx, [{ id: uuidOf(id), kind, name, title }], input.window ?? "1h");
    if (!health) throw new Error("a toolkit without health");
    return health;
  });
}

/** How well the tenant's installed toolkits are, and all others that were called in the window, by name. */
export function listToolkitHealth(
  ctx: Ctx,
  input: { window?: HealthWindow | undefined },
  page: PageRequest,
): Promise<Page<ToolkitHealth>> {
  const window = input.window ?? "1h";
  return transact(ctx, async (tx) => {
    const tenant = uuidOf(ctx.tenantId);
    const rows = await toolkitsAfter(tx, {
      tenant,
      after: cleanText(page.cursor ?? ""),
      limit: page.limit + 1,
      windowSeconds: SECONDS[window],
    });
    const shown = rows.slice(0, page.limit);
    const items = await healthOf(ctx, tx, shown, window);
    return { items, nextCursor: rows.length > page.limit ? (shown.at(-1)?.name ?? null) : null };
  });
}

async function healthOf(
  ctx: Ctx,
  tx: Tx,
  toolkits: readonly NamedToolkit[],
  window: HealthWindow,
): Promise<ToolkitHealth[]> {
  const tenant = uuidOf(ctx.tenantId);
  const names = toolkits.map(({ name }) => name);
  const installed = toolkits.flatMap(({ id }) => (id === null ? [] : [id]));
  const now = await databaseTime(tx);
  const calls = await callsOf(tx, { tenant, names, windowSeconds: SECONDS[window] });
  const failures = await lastFailuresOf(tx, { tenant, names });
  const circuits = await openCircuitsOf(tx, { tenant, names });
  const connections = await connectionsOf(tx, installed);
  const since = new Date(now.getTime() - SECONDS[window] * 1_000);
  return toolkits.map(({ id, kind, name, title }) => ({
    toolkitId: id === null ? null : idOf("toolkit", id),
    kind,
    name,
    title: title ?? name,
    ...callHealth(
      calls.find((row) => row.name === name),
      since,
    ),
    until: now.toISOString(),
    ...failureHealth(
      failures.find((row) => row.name === name),
      now,
    ),
    circuits: circuits.filter((row) => row.name === name).map(circuitHealth),
    connections:
      id === null
        ? null
        : (Object.fromEntries(
            connections
              .filter((row) => idOf("toolkit", row.toolkit_id) === idOf("toolkit", id))
              .map(({ status, number }) => [status, number]),
          ) as Record<ConnectionStatus, number>),
  }));
}

function callHealth(row: CallsRow | undefined, since: Date) {
  const { calls = 0, succeeded = 0, failed = 0, under_way: underWay = 0 } = row ?? {};
  return {
    since: (row?.oldest ?? since).toISOString(),
    calls,
    succeeded,
    failed,
    underWay,
    successRate: succeeded + failed === 0 ? null : succeeded / (succeeded + failed),
    failures: row?.failures ?? {},
    latencyMs: { p50: row?.p50 ?? null, p95: row?.p95 ?? null },
  };
}

function failureHealth(row: FailureRow | undefined, now: Date): Pick<ToolkitHealth, "rateLimit" | "lastFailure"> {
  if (!row) return { rateLimit: null, lastFailure: null };
  const { limited_at: saidAt, limited_until: until } = row;
  return {
    rateLimit: saidAt && {
      saidAt: saidAt.toISOString(),
      isLimited: until !== null && until > now,
      until: until?.toISOString() ?? null,
      by: until === null ? null : "retry-after",
    },
    lastFailure: {
      at: row.at.toISOString(),
      tool: row.tool,
      code: row.code,
      detail: row.detail,
      advice: adviceOn("tool", row.code),
      requestId: row.request_id,
    },
  };
}

function circuitHealth({ host, since, retry_at: retryAt, failures, code, workers }: CircuitRow) {
  return { host, since: since.toISOString(), retryAt: retryAt.toISOString(), failures, code, workers };
}
