import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { FinishReason, Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import type { Fence, NewEvent } from "../events/append.ts";
import { uuidOf } from "../ids.ts";
import { saveMessages } from "./save-messages.ts";
import { unblockNext } from "./unblock-next.ts";

export interface EndRun {
  conversationId: string;
  runId: string;
  /** The worker's lease; null for a caller that holds the conversation's lock. */
  fence: Fence | null;
  /** The last events, the terminal one at the end. */
  events: readonly NewEvent[];
  status: "completed" | "failed";
  finishReason: FinishReason | null;
  error: Run["error"];
  usage: readonly TokenUsage[];
  /** The assistant's messages by id. */
  texts: ReadonlyMap<string, string>;
  /** The model turn that ended the run; tool steps were recorded before. */
  lastStep?: FinishedStep;
}

export interface FinishedStep {
  index: number;
  messageId: string | null;
  text: string;
  usage: readonly TokenUsage[];
}

const end = statement<{ ended: boolean }>(
  "run_end",
  `with ended as (
     update runs set status = $3, finish_reason = $4, error = $5, usage = $6, last_seq = $7, finished_at = now(), interrupts = '[]', resume = null
     where id = $2 and status in ('running', 'waiting') returning id
   ), released as (
     update conversation_heads set run_id = null, epoch = epoch + 1 where conversation_id = $1 and run_id = $2
   ), step as (
     insert into steps (run_id, step_index, tenant_id, key, status, message_id, text, usage, finished_at)
     select $2, $8, $9, $10, 'finished', $11, $12, $13, now() where $8::int is not null
     on conflict (run_id, step_index) do update set status = 'finished', finished_at = now()
   )
   select true as ended from ended`,
);

/** Ends a run: its last events, its row, its messages and the conversation's freedom are one decision. */
export async function endRun(ctx: Ctx, tx: Tx, input: EndRun): Promise<void> {
  const stored = await appendInTransaction(ctx, tx, input);
  const { lastStep } = input;
  const [row] = await tx.query(end, [
    uuidOf(input.conversationId),
    uuidOf(input.runId),
    input.status,
    input.finishReason,
    input.error === null ? null : JSON.stringify(input.error),
    JSON.stringify(input.usage),
    stored.at(-1)?.seq ?? null,
    lastStep?.index ?? null,
    uuidOf(ctx.tenantId),
    lastStep ? stepKey(input.runId, lastStep.index) : null,
    lastStep?.messageId ? uuidOf(lastStep.messageId) : null,
    cleanText(lastStep?.text ?? ""),
    JSON.stringify(lastStep?.usage ?? []),
  ]);
  if (!row) throw new Error(`run ${input.runId} is not active`);
  await saveMessages(tx, { tenantId: ctx.tenantId, ...input }, input.texts);
  await unblockNext(ctx, tx, input.conversationId);
}

/** Deterministic: the same turn of the same run has the same key, however often it is tried. */
export function stepKey(runId: string, stepIndex: number): string {
  return `${runId}:${stepIndex}`;
}

export interface ParkRun {
  conversationId: string;
  runId: string;
  fence: Fence;
  /** The last one is `RUN_FINISHED` with the interrupts as its outcome. */
  events: readonly NewEvent[];
  interrupts: readonly Interrupt[];
  usage: readonly TokenUsage[];
  texts: ReadonlyMap<string, string>;
}

const park = statement<{ id: string }>(
  "run_park",
  `update runs set status = 'waiting', interrupts = $2, usage = $3, worker_id = null
   where id = $1 and status = 'running' returning id`,
);

/** Lets a run wait for a person. It keeps its conversation and has no job until it is resumed. */
export async function parkRun(ctx: Ctx, tx: Tx, input: ParkRun): Promise<void> {
  await appendInTransaction(ctx, tx, input);
  const [row] = await tx.query(park, [
    uuidOf(input.runId),
    JSON.stringify(input.interrupts),
    JSON.stringify(input.usage),
  ]);
  if (!row) throw new Error(`run ${input.runId} is not running`);
  await saveMessages(tx, { tenantId: ctx.tenantId, ...input }, input.texts);
}
