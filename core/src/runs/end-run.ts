import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { FinishReason, Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { QueueClass, Run } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { appendInTransaction, LeaseLost, publishAfterCommit } from "../events/append-in-transaction.ts";
import type { Fence, NewEvent } from "../events/append.ts";
import { idOf, uuidOf } from "../ids.ts";
import { cancelInTransaction } from "./cancel-run.ts";
import { firstExpiry } from "./interrupt-expiry.ts";
import { lockConversation } from "./lock-conversation.ts";
import { ringAfterCommit } from "./ring.ts";
import { saveMessages } from "./save-messages.ts";

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

interface EndRow {
  base: string;
  at: Date;
  next_run: string | null;
  next_hand_over: number;
  next_class: QueueClass;
  next_correlation: string;
}

const end = statement<EndRow>(
  "end_run",
  "select * from end_run($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
);

/**
 * Ends a run: its last events, its row, its messages and the conversation's freedom are one decision. Throws
 * `LeaseLost` when the fence does not hold. Also a transaction by itself: see `atOnce`.
 */
export async function endRun(ctx: Ctx, tx: Tx, input: EndRun): Promise<void> {
  const { conversationId, runId, fence, events, lastStep } = input;
  const said = [...input.texts].filter(([, text]) => text !== "");
  const [row] = await tx.query(end, [
    uuidOf(ctx.tenantId),
    uuidOf(conversationId),
    uuidOf(runId),
    fence?.epoch ?? null,
    fence?.position ?? null,
    events.map((event) => event.audience),
    events.map((event) => event.correlationId),
    events.map((event) => JSON.stringify(event.event)),
    input.status,
    input.finishReason,
    input.error === null ? null : jsonbOf(input.error),
    JSON.stringify(input.usage),
    lastStep?.index ?? null,
    lastStep ? stepKey(runId, lastStep.index) : null,
    lastStep?.messageId ? uuidOf(lastStep.messageId) : null,
    cleanText(lastStep?.text ?? ""),
    JSON.stringify(lastStep?.usage ?? []),
    said.map(([id]) => uuidOf(id)),
    said.map(([, text]) => cleanText(text)),
  ]);
  if (!row) throw new LeaseLost(runId);
  publishAfterCommit(ctx, tx, conversationId, { base: Number(row.base), at: row.at, events });
  if (row.next_run === null) return;
  ringAfterCommit(ctx, tx, row.next_class, {
    runId: idOf("run", row.next_run),
    handOver: row.next_hand_over,
    correlationId: row.next_correlation,
  });
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
  `update runs set status = 'waiting', interrupts = $2, usage = $3, interrupts_expire_at = $4, worker_id = null
   where id = $1 and status = 'running' returning id`,
);

/**
 * Lets a run wait for a person. It keeps its conversation and has no job until it is resumed. One that waits for an
 * operator makes way at once for a message that is waiting already, as it would for the next one.
 */
export async function parkRun(ctx: Ctx, tx: Tx, input: ParkRun): Promise<void> {
  await appendInTransaction(ctx, tx, input);
  const { interrupts } = input;
  const [row] = await tx.query(park, [
    uuidOf(input.runId),
    jsonbOf(interrupts),
    JSON.stringify(input.usage),
    firstExpiry(interrupts),
  ]);
  if (!row) throw new Error(`run ${input.runId} is not running`);
  await saveMessages(tx, { tenantId: ctx.tenantId, ...input }, input.texts);
  if (!waitsForOperator(interrupts)) return;
  const conversation = await lockConversation(ctx, tx, input.conversationId);
  if (conversation.hasQueuedRuns) await cancelInTransaction(ctx, tx, conversation, input.runId);
}

/**
 * A visitor can do nothing about such a run, so it never stands in their way. One with nothing open any more has been
 * decided, and is about to go on.
 */
export function waitsForOperator(interrupts: readonly Interrupt[]): boolean {
  return interrupts.length > 0 && interrupts.every((interrupt) => interrupt.reason === "operator");
}
