import { isDeepStrictEqual } from "node:util";
import type { InstalledToolkit } from "@agent-engine/protocol/toolkits.ts";
import { audit } from "../../audit/audit.ts";
import type { Ctx } from "../../context.ts";
import { jsonbOf } from "../../db/jsonb.ts";
import { statement } from "../../db/statement.ts";
import { transact } from "../../db/transaction.ts";
import { ProblemError } from "../../errors.ts";
import { uuidOf } from "../../ids.ts";
import { useConnection } from "../../connections/use-connection.ts";
import type { ConnectedAccount, KindDeps } from "../toolkit-kind.ts";
import { discoverTools } from "./discover-tools.ts";
import { kindOf } from "./kinds.ts";
import { maskFields, openFields, sealFields, unmasked } from "./settings-secrets.ts";
import { findToolkit, insertRevision, toResource, type ToolkitId } from "./toolkit-rows.ts";

const change = statement(
  "toolkit_change",
  `update toolkits set title = $2, revision = $3, updated_at = $4,
     tools_changed_at = case when tools_changed_at is distinct from $5 then tools_changed_at end
   where id = $1`,
);

/** The tenant's, where it has one: some show their tools to nobody else. */
async function accountOf(ctx: Ctx, deps: KindDeps, toolkitId: ToolkitId): Promise<ConnectedAccount | null> {
  const connection = await useConnection(ctx, deps, { toolkitId, visitorId: null });
  return connection && (connection.credential as unknown as ConnectedAccount);
}

/**
 * Changes a toolkit, or only asks the other side anew what there is. What differs becomes a new revision: agents use it
 * from when they are next published; a credential is used at once.
 */
export async function changeToolkit(
  ctx: Ctx,
  deps: KindDeps,
  input: { toolkitId: string; title?: string | undefined; settings?: Record<string, unknown> | undefined },
  action: "toolkit.updated" | "toolkit.refreshed" = "toolkit.updated",
): Promise<InstalledToolkit> {
  const { row, kept } = await transact(ctx, async (tx) => {
    const found = await findToolkit(tx, input.toolkitId);
    return { row: found, kept: await openFields(ctx, tx, found.id) };
  });
  const kind = await kindOf(row.kind);
  const isAsked = input.settings !== undefined || action === "toolkit.refreshed";
  const settings = unmasked(kind, input.settings ?? row.settings, kept);
  const found = isAsked ? await discoverTools(ctx, deps, kind, row, settings, await accountOf(ctx, deps, row.id)) : row;
  return transact(ctx, async (tx) => {
    const before = await findToolkit(tx, row.id, { lock: true });
    if (before.revision !== row.revision) {
      throw new ProblemError("conflict", "Somebody else changed this toolkit at the same time. Read it and try again.");
    }
    const stored = input.settings ? await sealFields(ctx, tx, kind, row.id, settings) : row.settings;
    const { tools, problems } = found;
    const next = JSON.parse(jsonbOf({ settings: stored, tools, problems })) as typeof found;
    const isNew = !isDeepStrictEqual(next, {
      settings: before.settings,
      tools: before.tools,
      problems: before.problems,
    });
    const revision = before.revision + (isNew ? 1 : 0);
    if (isNew) await insertRevision(ctx, tx, row.id, revision, { settings: stored, tools, problems });
    const title = input.title ?? before.title;
    // What was said while the other side was being asked still holds.
    const answered = isAsked ? row.toolsChangedAt : null;
    await tx.query(change, [uuidOf(row.id), title, revision, new Date(ctx.services.clock()), answered]);
    const changed = toResource(await findToolkit(tx, row.id), maskFields(kind, stored));
    await audit(ctx, tx, {
      action,
      target: { kind: "toolkit", id: row.id },
      before: { ...toResource(before, maskFields(kind, before.settings)) },
      after: { ...changed },
    });
    return changed;
  });
}
