import type { InstalledToolkit, Tool } from "@agent-engine/protocol/toolkits.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../../db/page.ts";
import { transact } from "../../db/transaction.ts";
import { notFound } from "../../errors.ts";
import { kindOf } from "./kinds.ts";
import { maskFields } from "./settings-secrets.ts";
import { allToolkits, findToolkit, toolkitPage, toResource, type StoredTool, type ToolkitRow } from "./toolkit-rows.ts";

export async function getToolkit(ctx: Ctx, toolkitId: string): Promise<InstalledToolkit> {
  return masked(await transact(ctx, (tx) => findToolkit(tx, toolkitId)));
}

/** The tenant's toolkits, newest first. */
export async function listToolkits(ctx: Ctx, page: PageRequest): Promise<Page<InstalledToolkit>> {
  const below = cursorUuid("toolkit", page.cursor);
  const rows = await transact(ctx, (tx) => toolkitPage(tx, below, page.limit + 1));
  const resources = await Promise.all(rows.map(masked));
  return pageOf(resources, page, (resource) => resource);
}

async function masked(row: ToolkitRow): Promise<InstalledToolkit> {
  return toResource(row, maskFields(await kindOf(row.kind), row.settings));
}

export interface ToolsQuery {
  toolkitId?: string | undefined;
  /** Words that a tool's name or description has. */
  search?: string | undefined;
}

/** The tools of the tenant's toolkits by name; a page ends with the id of its last one. */
export async function listTools(ctx: Ctx, query: ToolsQuery, page: PageRequest): Promise<Page<Tool>> {
  const toolkits = await transact(ctx, allToolkits);
  const rows = toolkits.filter(({ id }) => query.toolkitId === undefined || id === query.toolkitId);
  const words = (query.search ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const tools = rows
    .flatMap((row) => row.tools.map((tool) => toTool(row, tool)))
    .filter((tool) => words.every((word) => `${tool.name} ${tool.description}`.toLowerCase().includes(word)))
    .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const at = page.cursor === null ? 0 : tools.findIndex(({ id }) => id === page.cursor) + 1;
  return pageOf(tools.slice(at, at + page.limit + 1), page, (tool) => tool);
}

/** A tool and its toolkit. @throws ProblemError `not_found` */
export async function findTool(ctx: Ctx, toolId: string): Promise<{ toolkit: ToolkitRow; tool: StoredTool }> {
  const rows = await transact(ctx, allToolkits);
  for (const toolkit of rows) {
    const tool = toolkit.tools.find(({ id }) => id === toolId);
    if (tool) return { toolkit, tool };
  }
  throw notFound("tool");
}

function toTool(toolkit: ToolkitRow, tool: StoredTool): Tool {
  const { id, name, remote, description, parameters, effect, connection, scopes, visibility } = tool;
  return {
    id,
    toolkitId: toolkit.id,
    name,
    remote,
    description,
    parameters,
    effect,
    connection,
    scopes: [...scopes],
    visibility,
  };
}
