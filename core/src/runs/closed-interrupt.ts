import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";

const factsOfRun = statement<{ at: Date; event: ConversationEvent }>(
  "interrupt_facts",
  `select e.at, e.event from events e
   where e.conversation_id = $1 and e.seq >= (select r.first_seq from runs r where r.id = $2)
     and (e.run_id = $2 or e.run_id is null)
     and (e.event->>'type' = 'RUN_FINISHED' or e.event->>'name' in ('run.resumed', 'call.decided'))
   order by e.seq desc`,
);

/**
 * Why an interrupt that is not open cannot be decided, as the log tells: somebody was faster (who, what, when), the run
 * ended meanwhile, or there never was one of this id.
 */
export async function closedInterrupt(tx: Tx, run: Run, interruptId: string): Promise<ProblemError> {
  const facts = await tx.query(factsOfRun, [uuidOf(run.conversationId), uuidOf(run.id)]);
  for (const { at, event } of facts) {
    if (event.type === "CUSTOM" && (event.name === "run.resumed" || event.name === "call.decided")) {
      const { decision, by } = event.value;
      if (event.value.interruptId !== interruptId) continue;
      const decidedAt = at.toISOString();
      return new ProblemError(
        "interrupt_resolved",
        `Somebody was faster: it was decided ${decision} (by ${by}) at ${decidedAt}. Read the run to see where it is.`,
        { extra: { decision, by, decidedAt, runStatus: run.status } },
      );
    }
    if (event.type !== "RUN_FINISHED" || event.outcome.type !== "interrupt") continue;
    if (!event.outcome.interrupts.some(({ id }) => id === interruptId)) continue;
    return new ProblemError(
      "interrupt_resolved",
      `The run no longer waits for this: it is ${run.status}. Read the run to see where it is.`,
      { extra: { runStatus: run.status } },
    );
  }
  return notFound("interrupt of this run");
}
