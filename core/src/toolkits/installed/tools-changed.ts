import type { Ctx } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import { inTenant } from "../../db/transaction.ts";
import { uuidOf } from "../../ids.ts";
import type { KindDeps, ToolsChanged } from "../toolkit-kind.ts";
import type { ToolkitId } from "./toolkit-rows.ts";

// That a tool is gone which an older revision names says nothing of the latest. Said again and again, it is written once.
const mark = statement(
  "toolkit_tools_changed",
  `update toolkits set tools_changed_at = now()
   where id = $1 and deleted_at is null and (revision = $2 or $3 = 'announced')
     and (tools_changed_at is null or tools_changed_at < now() - interval '1 second')`,
);

/**
 * The deps of one installed toolkit, which is marked when the other side says that its tools have changed. Nothing else
 * changes by that: an admin reads it and asks anew what there is; published agents keep what they pinned.
 */
export function depsOfInstalled(ctx: Ctx, deps: KindDeps, toolkit: { id: ToolkitId; revision: number }): KindDeps {
  const said = new Set<ToolsChanged>();
  return {
    ...deps,
    onToolsChanged(how) {
      deps.onToolsChanged?.(how);
      if (said.has(how)) return;
      said.add(how);
      // It may come at any time: no transaction of the caller's is open any more.
      inTenant(ctx.services.db, ctx.tenantId, (tx) =>
        tx.query(mark, [uuidOf(toolkit.id), toolkit.revision, how]),
      ).catch((error: unknown) =>
        ctx.services.log.warn({ err: error, toolkitId: toolkit.id }, "changed tools were not noted"),
      );
    },
  };
}
