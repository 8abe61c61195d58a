/** Installed toolkits and their revisions as Postgres holds them. */
import type { InstalledToolkit } from "@agent-engine/protocol/toolkits.ts";
import type { Id } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../../context.ts";
import { jsonbOf } from "../../db/jsonb.ts";
import { statement } from "../../db/statement.ts";
import type { Tx } from "../../db/transaction.ts";
import { notFound } from "../../errors.ts";
import { idOf, parseId, uuidOf } from "../../ids.ts";
import type { DiscoveredTool, ToolkitKindName } from "../toolkit-kind.ts";

export type ToolkitId = Id<"toolkit">;

/** A tool of a revision, with the id by which the API knows it. */
export interface StoredTool extends DiscoveredTool {
  id: string;
}

interface Row {
  id: string;
  kind: ToolkitKindName;
  name: string;
  title: string;
  revision: number;
  settings: Record<string, unknown>;
  tools: StoredTool[];
  problems: string[];
  tools_changed_at: Date | null;
  created_at: Date;
  updated_at: Date;
}

/** A toolkit at its latest revision. Secrets in its settings are references. */
export interface ToolkitRow extends Omit<Row, "id" | "tools_changed_at" | "created_at" | "updated_at"> {
  id: ToolkitId;
  toolsChangedAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
}

const COLUMNS = `t.id, t.kind, t.name, t.title, t.revision, r.settings, r.tools, r.problems, t.tools_changed_at, t.created_at, t.updated_at
   from toolkits t join toolkit_revisions r on r.toolkit_id = t.id and r.revision = t.revision`;

const byId = statement<Row>("toolkit_by_id", `select ${COLUMNS} where t.id = $1 and t.deleted_at is null`);
const lock = statement("toolkit_lock", "select 1 from toolkits where id = $1 for no key update");
const page = statement<Row>(
  "toolkits_page",
  `select ${COLUMNS} where t.deleted_at is null and t.id < $1 order by t.id desc limit $2`,
);
const all = statement<Row>("toolkits_all", `select ${COLUMNS} where t.deleted_at is null order by t.name`);

export function fromRow({ id, tools_changed_at: toolsChangedAt, created_at, updated_at, ...row }: Row): ToolkitRow {
  return { ...row, id: idOf("toolkit", id), toolsChangedAt, createdAt: created_at, updatedAt: updated_at };
}

/** The tenant's toolkit, locked when it is about to change. @throws ProblemError `not_found` */
export async function findToolkit(tx: Tx, id: string, options: { lock?: boolean } = {}): Promise<ToolkitRow> {
  const toolkitId = parseId("toolkit", id, "toolkit");
  if (options.lock) await tx.query(lock, [uuidOf(toolkitId)]);
  const [row] = await tx.query(byId, [uuidOf(toolkitId)]);
  if (!row) throw notFound("toolkit");
  return fromRow(row);
}

export async function toolkitPage(tx: Tx, belowUuid: string, limit: number): Promise<ToolkitRow[]> {
  return (await tx.query(page, [belowUuid, limit])).map(fromRow);
}

/** All of the tenant's, by name. */
export async function allToolkits(tx: Tx): Promise<ToolkitRow[]> {
  return (await tx.query(all, [])).map(fromRow);
}

const addRevision = statement(
  "toolkit_revision_insert",
  `insert into toolkit_revisions (toolkit_id, revision, tenant_id, settings, tools, problems, created_at)
   values ($1, $2, $3, $4, $5, $6, $7)`,
);

export interface Revision {
  settings: Record<string, unknown>;
  tools: readonly StoredTool[];
  problems: readonly string[];
}

export async function insertRevision(
  ctx: Ctx,
  tx: Tx,
  toolkitId: ToolkitId,
  revision: number,
  { settings, tools, problems }: Revision,
): Promise<void> {
  await tx.query(addRevision, [
    uuidOf(toolkitId),
    revision,
    uuidOf(ctx.tenantId),
    jsonbOf(settings),
    jsonbOf(tools),
    jsonbOf(problems),
    new Date(ctx.services.clock()),
  ]);
}

/** As the API shows it: `settings` must be masked by the caller, who knows the kind. */
export function toResource(row: ToolkitRow, settings: Record<string, unknown>): InstalledToolkit {
  const { id, kind, name, title, revision, tools, problems } = row;
  return {
    id,
    kind,
    name,
    title,
    revision,
    settings,
    toolCount: tools.length,
    problems,
    toolsChangedAt: row.toolsChangedAt?.toISOString() ?? null,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}
