import { audit } from "../../audit/audit.ts";
import type { Ctx } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import { transact } from "../../db/transaction.ts";
import { ProblemError } from "../../errors.ts";
import { uuidOf } from "../../ids.ts";
import { forgetSecretsOf } from "../../secrets/secrets.ts";
import { kindOf } from "./kinds.ts";
import { maskFields } from "./settings-secrets.ts";
import { findToolkit, toResource } from "./toolkit-rows.ts";

const remove = statement("toolkit_delete", "update toolkits set deleted_at = $2 where id = $1");

const usedBy = statement<{ name: string }>(
  "toolkit_used_by",
  `select a.name from agents a left join agent_versions v on v.agent_id = a.id and v.version = a.published_version
   where a.draft->'toolkits' @> $1 or v.config->'toolkits' @> $1 order by a.name limit 5`,
);

const openConnections = statement<{ id: string }>(
  "toolkit_connections",
  "select id from connections where toolkit_id = $1 and deleted_at is null limit 1",
);

/** Removes a toolkit that no agent names and nobody has connected any more; its secrets are forgotten. */
export async function deleteToolkit(ctx: Ctx, toolkitId: string): Promise<void> {
  await transact(ctx, async (tx) => {
    const row = await findToolkit(tx, toolkitId, { lock: true });
    const users = await tx.query(usedBy, [JSON.stringify([{ toolkit: row.id }])]);
    if (users.length > 0) {
      const names = users.map(({ name }) => name).join(", ");
      throw new ProblemError(
        "conflict",
        `Agents use this toolkit: ${names}. Take it from them and publish them first.`,
      );
    }
    if ((await tx.query(openConnections, [uuidOf(row.id)])).length > 0) {
      throw new ProblemError("conflict", "Accounts are connected for this toolkit. Disconnect them first.");
    }
    await tx.query(remove, [uuidOf(row.id), new Date(ctx.services.clock())]);
    await forgetSecretsOf(ctx, tx, row.id);
    const before = { ...toResource(row, maskFields(await kindOf(row.kind), row.settings)) };
    await audit(ctx, tx, { action: "toolkit.deleted", target: { kind: "toolkit", id: row.id }, before });
  });
}
