import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import type { ForkSettings } from "./fork-settings.ts";
import { certainOutcome, isOfTool, type CertainOutcome, type OutcomeRow } from "./recorded-outcome.ts";
import type { ReusedFrom } from "./reused-from.ts";

/** A result that answers one identical call of a fork. */
export interface RecordedCall {
  tool: string;
  arguments: Record<string, unknown>;
  outcome: CertainOutcome & { reused: ReusedFrom };
}

export interface Fork {
  settings: ForkSettings;
  /** Not used yet, in the order in which they were recorded; the nearest original's first. */
  recorded: RecordedCall[];
}

interface CallRow extends OutcomeRow {
  /** 0 for the fork's own calls, 1 for its original's, and so on. */
  depth: number;
  key: string;
  tool_call_id: string;
  tool: string;
  arguments: Record<string, unknown>;
  reused_from: string | null;
}

const settingsOf = statement<{ fork: ForkSettings | null }>("fork_settings", "select fork from runs where id = $1");

const calls = statement<CallRow>(
  "fork_calls",
  `with recursive origin (run_id, depth) as (
     select $1::uuid, 0
     union all
     select substr(r.fork->'from'->>'runId', 5)::uuid, o.depth + 1
     from origin o join runs r on r.id = o.run_id where r.fork is not null
   )
   select o.depth, i.idempotency_key as key, i.tool_call_id, i.tool, i.arguments, i.status, i.outcome, i.decision, i.reused_from
   from origin o join tool_invocations i on i.run_id = o.run_id
   order by o.depth, i.step_index, i.call_index`,
);

/** What a forked run carries, and the results that it may still reuse; also those recorded since it was forked. */
export async function readFork(ctx: Ctx, runId: string): Promise<Fork> {
  return transact(ctx, async (tx) => {
    const [row] = await tx.query(settingsOf, [uuidOf(runId)]);
    if (!row?.fork) throw new Error(`run ${runId} is no fork`);
    const rows = await tx.query(calls, [uuidOf(runId)]);
    return { settings: row.fork, recorded: unusedResults(row.fork, rows) };
  });
}

function unusedResults({ toolResults = {}, reuseToolResults }: ForkSettings, rows: readonly CallRow[]): RecordedCall[] {
  const used = new Set(rows.map((row) => row.reused_from));
  return rows.flatMap((row): RecordedCall[] => {
    if (row.depth === 0 || used.has(row.key)) return [];
    const reused = { key: row.key, toolCallId: row.tool_call_id };
    const call = { tool: row.tool, arguments: row.arguments };
    const given = toolResults[row.tool_call_id];
    if (given !== undefined) {
      return [{ ...call, outcome: { status: "succeeded", content: given, reused: { ...reused, isGiven: true } } }];
    }
    const outcome = reuseToolResults ? certainOutcome(row) : null;
    return outcome && isOfTool(outcome) ? [{ ...call, outcome: { ...outcome, reused } }] : [];
  });
}
