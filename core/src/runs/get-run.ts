import type { Run } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { visitorUuid } from "../conversations/get-conversation.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { RUN_COLUMNS, toRun, type RunRow } from "./run-row.ts";

const byId = statement<RunRow>(
  "run_by_id",
  `select ${RUN_COLUMNS} from runs r join conversations c on c.id = r.conversation_id
   where r.id = $1 and ($2::uuid is null or c.visitor_id = $2)`,
);

/** One run. A visitor sees only those of their own conversations. */
export async function getRun(ctx: Ctx, id: string): Promise<Run> {
  const runId = parseId("run", id, "run");
  return transact(ctx, (tx) => findRun(ctx, tx, runId));
}

export async function findRun(ctx: Ctx, tx: Tx, runId: string): Promise<Run> {
  const [row] = await tx.query(byId, [uuidOf(runId), visitorUuid(ctx)]);
  if (!row) throw notFound("run");
  return toRun(row, ctx.actor.kind === "visitor" ? "all" : "staff");
}
