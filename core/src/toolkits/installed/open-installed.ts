import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import { transact } from "../../db/transaction.ts";
import { uuidOf } from "../../ids.ts";
import { installedSettings, isInstalled } from "../../agents/installed-choices.ts";
import type { KindDeps, ToolkitKindName } from "../toolkit-kind.ts";
import type { Toolkit } from "../toolkit.ts";
import { kindOf } from "./kinds.ts";
import { openFields, unmasked } from "./settings-secrets.ts";
import type { StoredTool, ToolkitId } from "./toolkit-rows.ts";
import { depsOfInstalled } from "./tools-changed.ts";

interface Pinned {
  kind: ToolkitKindName;
  name: string;
  title: string;
  revision: number;
  deleted: boolean;
  settings: Record<string, unknown>;
  tools: StoredTool[];
}

const pinned = statement<Pinned>(
  "toolkit_pinned",
  `select t.kind, t.name, t.title, t.deleted_at is not null as deleted, r.revision, r.settings, r.tools
   from toolkits t join toolkit_revisions r on r.toolkit_id = t.id
   where t.id = $1 and r.revision = coalesce($2, t.revision)`,
);

export interface OpenInstalled {
  toolkitId: ToolkitId;
  title: string;
  toolkit: Toolkit;
  /** Which of the tenant's accounts the agent names. */
  connectionId: string | undefined;
}

/**
 * An installed toolkit, ready to be called: the tools of the revision that the agent's version pins, with the
 * credentials of today. Answers what is wrong where it cannot be.
 */
export async function openInstalled(
  ctx: Ctx,
  deps: KindDeps,
  choice: AgentConfig["toolkits"][number],
): Promise<OpenInstalled | { problem: string }> {
  if (!isInstalled(choice)) return { problem: "it is not named by id" };
  const { revision, connectionId } = installedSettings(choice);
  const found = await transact(ctx, async (tx) => {
    const [row] = await tx.query(pinned, [uuidOf(choice.toolkit), revision ?? null]);
    return row && !row.deleted ? { ...row, kept: await openFields(ctx, tx, choice.toolkit) } : null;
  });
  if (!found) return { problem: "there is no such toolkit any more" };
  const kind = await kindOf(found.kind);
  const parsed = kind.parse(unmasked(kind, found.settings, found.kept));
  if (parsed.problems) return { problem: parsed.problems.join("; ") };
  const own = depsOfInstalled(ctx, deps, { id: choice.toolkit, revision: found.revision });
  const toolkit = kind.open(found.name, parsed.settings, found.tools, own);
  return { toolkitId: choice.toolkit, title: found.title, toolkit, connectionId };
}
