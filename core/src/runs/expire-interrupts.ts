import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { idOf, newId } from "../ids.ts";
import { repeat, type Repeated } from "../repeat.ts";
import { decideInterrupt } from "./decide-interrupt.ts";
import { findRun } from "./get-run.ts";
import { hasExpired, verdictOfTime } from "./interrupt-expiry.ts";
import { lockConversation } from "./lock-conversation.ts";

const EVERY_MS = 1_000;
const RUNS_AT_ONCE = 100;

const expired = statement<{ tenant_id: string; run_id: string }>(
  "expired_waits",
  "select * from expired_waits($1, $2)",
);

/**
 * Decides what nobody decided in time, so that no run waits for ever: an approval and a connection are declined, a page
 * has not answered. By the rules of a person's decision: under the conversation's lock, and the first one wins.
 *
 * @returns how many interrupts were decided
 */
export async function expireInterrupts(services: Services): Promise<number> {
  const rows = await services.db.query(expired, [new Date(services.clock()), RUNS_AT_ONCE]);
  let decided = 0;
  for (const row of rows) {
    const runId = idOf("run", row.run_id);
    const ctx: Ctx = {
      services,
      tenantId: idOf("tenant", row.tenant_id),
      actor: { kind: "worker" },
      correlationId: newId("req"),
    };
    try {
      decided += await expireRun(ctx, runId);
    } catch (error) {
      // Another one's turn must come all the same.
      services.log.error({ err: error, runId }, "expired interrupts not decided");
    }
  }
  return decided;
}

async function expireRun(ctx: Ctx, runId: string): Promise<number> {
  return transact(ctx, async (tx) => {
    const { conversationId } = await findRun(ctx, tx, runId);
    const conversation = await lockConversation(ctx, tx, conversationId);
    let run = await findRun(ctx, tx, runId);
    if (run.status !== "waiting") return 0;
    const now = ctx.services.clock();
    const over = run.interrupts.filter((interrupt) => hasExpired(interrupt, now));
    let decided = 0;
    for (const interrupt of over) {
      const verdict = verdictOfTime(interrupt);
      if (!verdict) continue;
      await decideInterrupt(ctx, tx, conversation, run, interrupt, verdict);
      run = { ...run, interrupts: run.interrupts.filter(({ id }) => id !== interrupt.id) };
      decided++;
    }
    return decided;
  });
}

/** Every worker does so; of two at once one finds nothing left. */
export function watchInterrupts(services: Services): Repeated {
  return repeat(services.log, EVERY_MS, async () => void (await expireInterrupts(services)));
}
