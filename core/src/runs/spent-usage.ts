import type { TokenUsage } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { addUsage, withoutCost } from "./usage.ts";

const ofSteps = statement<{ usage: TokenUsage[] }>(
  "usage_of_steps",
  "select usage from steps where run_id = $1 order by step_index",
);

/** What a run's recorded steps have used, an entry a model turn. */
export async function usageOfSteps(ctx: Ctx, runId: string): Promise<TokenUsage[]> {
  const rows = await transact(ctx, (tx) => tx.query(ofSteps, [uuidOf(runId)]));
  return rows.flatMap((row) => row.usage.map(withoutCost));
}

/** The same as one sum, an entry a model: what is known of a run that is cut short. */
export async function spentSoFar(tx: Tx, runId: string): Promise<TokenUsage[]> {
  const rows = await tx.query(ofSteps, [uuidOf(runId)]);
  return rows.flatMap((row) => row.usage.map(withoutCost)).reduce<TokenUsage[]>(addUsage, []);
}
