import type { InstalledToolkit, ToolkitKindName } from "@agent-engine/protocol/toolkits.ts";
import { audit } from "../../audit/audit.ts";
import type { Ctx } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import { transact } from "../../db/transaction.ts";
import { ProblemError } from "../../errors.ts";
import { uuidOf } from "../../ids.ts";
import type { KindDeps } from "../toolkit-kind.ts";
import { discoverTools } from "./discover-tools.ts";
import { kindOf } from "./kinds.ts";
import { maskFields, sealFields, unmasked } from "./settings-secrets.ts";
import { findToolkit, insertRevision, toResource } from "./toolkit-rows.ts";

export interface InstallToolkit {
  kind: ToolkitKindName;
  /** Namespace of its tools' names; unique in the tenant. */
  name: string;
  title?: string | undefined;
  settings: Record<string, unknown>;
}

/** Namespaces of tools that are ours. */
const RESERVED = ["builtin", "knowledge", "page"];

const insert = statement<{ id: string }>(
  "toolkit_insert",
  `insert into toolkits (id, tenant_id, kind, name, title, revision, created_at, updated_at)
   values ($1, $2, $3, $4, $5, 1, $6, $6) on conflict (tenant_id, lower(name)) where deleted_at is null do nothing returning id`,
);

/** Installs a toolkit: asks the other side what there is, and keeps it as the first revision. */
export async function installToolkit(ctx: Ctx, deps: KindDeps, input: InstallToolkit): Promise<InstalledToolkit> {
  if (RESERVED.includes(input.name.toLowerCase())) {
    throw new ProblemError("invalid_request", `\`name\` ${input.name} is one of ours. Choose another one.`);
  }
  const kind = await kindOf(input.kind);
  const id = ctx.services.newId("toolkit");
  const settings = unmasked(kind, input.settings, new Map());
  const found = await discoverTools(ctx, deps, kind, { id, name: input.name }, settings);
  return transact(ctx, async (tx) => {
    const now = new Date(ctx.services.clock());
    const title = input.title ?? input.name;
    const rows = await tx.query(insert, [uuidOf(id), uuidOf(ctx.tenantId), input.kind, input.name, title, now]);
    if (rows.length === 0) {
      throw new ProblemError("conflict", `There is a toolkit named ${input.name} already. Choose another \`name\`.`);
    }
    const stored = await sealFields(ctx, tx, kind, id, settings);
    await insertRevision(ctx, tx, id, 1, { settings: stored, ...found });
    const made = toResource(await findToolkit(tx, id), maskFields(kind, stored));
    await audit(ctx, tx, { action: "toolkit.installed", target: { kind: "toolkit", id }, after: { ...made } });
    return made;
  });
}
