/** Steps that call tools, and their invocations, as durable facts: the intent before the call, the result once. */
import type { TokenUsage } from "@agent-engine/protocol/events.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import type { Fence, NewEvent } from "../events/append.ts";
import { uuidOf } from "../ids.ts";
import { withoutCost } from "./usage.ts";
import type { Failure } from "../toolkits/failure.ts";
import type { ToolEffect } from "../toolkits/toolkit.ts";

/** `Outcome` and `Decision` are the engine's; here they are only kept. */
export interface StoredInvocation<Outcome = unknown, Decision = unknown> {
  toolCallId: string;
  /** 0-based among the calls of the model turn. */
  callIndex: number;
  toolName: string;
  effect: ToolEffect;
  idempotencyKey: string;
  arguments: Record<string, unknown>;
  attempts: number;
  /** Milliseconds since the epoch. */
  startedAt: number | null;
  /** To whom it is sent: the toolkit, and the host where there is one. */
  toolkit?: string | null;
  host?: string | null;
  outcome: Outcome | null;
  decision: Decision | null;
}

export interface StoredStep<Outcome = unknown, Decision = unknown> {
  index: number;
  key: string;
  text: string;
  usage: TokenUsage | null;
  invocations: StoredInvocation<Outcome, Decision>[];
}

const insertStep = statement(
  "tool_step_insert",
  `with step as (
     insert into steps (run_id, step_index, tenant_id, key, status, text, usage)
     values ($1, $2, $3, $4, 'tools', $5, $6) returning run_id
   )
   insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments, toolkit, host)
   select i.key, $3, $1, $2, i.call_index, i.tool_call_id, i.tool, i.effect, i.arguments::json, i.toolkit, i.host
   from unnest($7::text[], $8::int[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
     as i (key, call_index, tool_call_id, tool, effect, arguments, toolkit, host)`,
);

/** One transaction's part: the log so far, the step, an intent for each invocation. */
export async function recordToolStep(
  ctx: Ctx,
  tx: Tx,
  input: { conversationId: string; runId: string; fence: Fence; events: readonly NewEvent[]; step: StoredStep },
): Promise<void> {
  const { step, runId } = input;
  await appendInTransaction(ctx, tx, input);
  await tx.query(insertStep, [
    uuidOf(runId),
    step.index,
    uuidOf(ctx.tenantId),
    step.key,
    cleanText(step.text),
    JSON.stringify(step.usage === null ? [] : [step.usage]),
    step.invocations.map((invocation) => invocation.idempotencyKey),
    step.invocations.map((invocation) => invocation.callIndex),
    step.invocations.map((invocation) => invocation.toolCallId),
    step.invocations.map((invocation) => cleanText(invocation.toolName)),
    step.invocations.map((invocation) => invocation.effect),
    step.invocations.map((invocation) => JSON.stringify(invocation.arguments)),
    step.invocations.map((invocation) => invocation.toolkit ?? null),
    step.invocations.map((invocation) => invocation.host ?? null),
  ]);
}

// The head is locked, not only read: whoever cancels the run or takes it over at this moment either comes first, and
// nothing is sent, or finds the call marked as sent.
const begin = statement<{ attempts: number }>(
  "invocation_begin",
  `with held as materialized (
     select h.run_id from conversation_heads h where h.conversation_id = $2 and h.epoch = $3 for share
   )
   update tool_invocations i set status = 'started', attempts = i.attempts + 1, started_at = now()
   from held where held.run_id = i.run_id and i.idempotency_key = $1 and i.outcome is null
   returning i.attempts`,
);

/** Marks an invocation as sent. False when the lease is no longer this epoch's: then it must not be sent. */
export async function beginInvocation(
  ctx: Ctx,
  input: { idempotencyKey: string; conversationId: string; epoch: number },
): Promise<boolean> {
  const rows = await transact(ctx, (tx) =>
    tx.query(begin, [input.idempotencyKey, uuidOf(input.conversationId), input.epoch]),
  );
  return rows.length === 1;
}

// An attempt fails once, however often it is said: whoever lost the answer says it again.
const withFailure = (failure: string): string => `case
  when ${failure}::jsonb is null or i.started_at is null or coalesce((i.tried->-1->>'attempt')::int, 0) >= i.attempts then i.tried
  else coalesce(i.tried, '[]') || jsonb_build_array(${failure}::jsonb || jsonb_build_object('attempt', i.attempts, 'at', now(),
    'ms', round(extract(epoch from now() - i.started_at) * 1000))) end`;

/** Why an attempt failed, as it is kept with its call. */
export type FailedAttempt = Pick<Failure, "code" | "detail" | "requestId" | "retryAfterMs">;

function attemptJson(failed: FailedAttempt | null): string | null {
  if (failed === null) return null;
  const { code, detail, requestId, retryAfterMs } = failed;
  return jsonbOf({ code, detail, requestId, retryAfterMs });
}

const addFailure = statement(
  "invocation_attempt_failed",
  `update tool_invocations i set tried = ${withFailure("$2")}
   where i.idempotency_key = $1 and i.outcome is null
     and exists (select 1 from conversation_heads h where h.conversation_id = $3 and h.run_id = i.run_id and h.epoch = $4)`,
);

/** Keeps why the last attempt failed, of a call that has not ended with it. */
export async function recordFailedAttempt(
  ctx: Ctx,
  input: { idempotencyKey: string; failed: FailedAttempt; conversationId: string; epoch: number },
): Promise<void> {
  const { idempotencyKey, failed, conversationId, epoch } = input;
  await transact(ctx, (tx) =>
    tx.query(addFailure, [idempotencyKey, attemptJson(failed), uuidOf(conversationId), epoch]),
  );
}

const finish = statement<{ idempotency_key: string }>(
  "invocation_finish",
  `update tool_invocations i set status = $2, outcome = $3, reused_from = $6, finished_at = now(), tried = ${withFailure("$7")}
   where i.idempotency_key = $1 and i.outcome is null
     and exists (select 1 from conversation_heads h where h.conversation_id = $4 and h.run_id = i.run_id and h.epoch = $5)
   returning i.idempotency_key`,
);

/** Records how an invocation ended, once. False when the lease is lost or a result was there already. */
export async function finishInvocation(
  ctx: Ctx,
  input: {
    idempotencyKey: string;
    status: "succeeded" | "failed" | "outcome_unknown" | "cancelled";
    outcome: unknown;
    /** In a fork: the invocation whose result this is, instead of a call of its own. */
    reusedFrom?: string | null;
    /** Why the last attempt failed, where that ended the call. */
    failed?: FailedAttempt | null;
    conversationId: string;
    epoch: number;
  },
): Promise<boolean> {
  const rows = await transact(ctx, (tx) =>
    tx.query(finish, [
      input.idempotencyKey,
      input.status,
      JSON.stringify(input.outcome),
      uuidOf(input.conversationId),
      input.epoch,
      input.reusedFrom ?? null,
      attemptJson(input.failed ?? null),
    ]),
  );
  return rows.length === 1;
}

const closeSteps = statement(
  "steps_close",
  "update steps set status = 'finished', finished_at = now() where run_id = $1 and step_index < $2 and status = 'tools'",
);

/** A later step has begun: those before it are finished. */
export async function closeStepsBefore(tx: Tx, runId: string, stepIndex: number): Promise<void> {
  await tx.query(closeSteps, [uuidOf(runId), stepIndex]);
}

const lastStep = statement<{
  step_index: number;
  key: string;
  text: string;
  usage: TokenUsage[];
  invocations: StoredInvocation[] | null;
}>(
  "tool_step_last",
  `select s.step_index, s.key, s.text, s.usage,
     (select json_agg(json_build_object(
        'toolCallId', i.tool_call_id, 'callIndex', i.call_index, 'toolName', i.tool, 'effect', i.effect,
        'idempotencyKey', i.idempotency_key, 'arguments', i.arguments, 'attempts', i.attempts,
        'startedAt', (extract(epoch from i.started_at) * 1000)::bigint, 'toolkit', i.toolkit, 'host', i.host, 'outcome', i.outcome, 'decision', i.decision
      ) order by i.call_index) from tool_invocations i where i.run_id = s.run_id and i.step_index = s.step_index) as invocations
   from steps s where s.run_id = $1 order by s.step_index desc limit 1`,
);

/** The last step of a run that asked for tools, with what is known of its invocations; null when there is none. */
export async function lastToolStep<Outcome, Decision>(
  ctx: Ctx,
  runId: string,
): Promise<StoredStep<Outcome, Decision> | null> {
  const [row] = await transact(ctx, (tx) => tx.query(lastStep, [uuidOf(runId)]));
  if (!row) return null;
  return {
    index: row.step_index,
    key: row.key,
    text: row.text,
    usage: row.usage[0] ? withoutCost(row.usage[0]) : null,
    invocations: (row.invocations ?? []) as StoredInvocation<Outcome, Decision>[],
  };
}

/** A person's decision about a call, as it is kept with it: what, by whom, when. */
export interface CallDecisionRecord {
  kind: string;
  /** `expiry`: nobody did in time. */
  by: "visitor" | "operator" | "expiry";
  /** The id of the visitor, the member or the secret key; of the connection that was made. */
  actor: string;
  /** ISO 8601 UTC. */
  at: string;
  reason?: string;
  /** What became of the call: text, or any JSON where the visitor's browser answered. */
  content?: unknown;
  /** What was asked for, where it was no approval that was declined. */
  of?: string;
  /** The call was approved with other arguments than the model's: those of its row. */
  edited?: true;
  /** What was known of the call when it was decided: `unknown`, or `not_done` when it certainly never left. */
  outcome?: string;
}

const leaveUnknown = statement(
  "writes_left_open",
  `update tool_invocations set status = case
       when decision->>'kind' = 'done' then 'succeeded'
       when tool_call_id = any($2) or (decision->>'outcome' = 'not_done' and (decision->>'attempts')::int = attempts) then 'cancelled'
       else 'outcome_unknown' end
   where run_id = $1 and effect = 'write' and (status = 'started' and outcome is null or status = 'outcome_unknown')`,
);

/**
 * The run ends now: a write that was sent and not answered stays open, since somebody must find out whether it
 * happened; not one of which it is known, nor one that never left.
 *
 * @param notDone the calls that are known not to have been made, though begun
 */
export async function leaveWritesOpen(tx: Tx, runId: string, notDone: readonly string[]): Promise<void> {
  await tx.query(leaveUnknown, [uuidOf(runId), notDone]);
}

const decide = statement(
  "invocation_decide",
  `update tool_invocations
   set decision = ($3::jsonb || jsonb_build_object('attempts', attempts) || case
         when decision->>'kind' = 'approve' or decision->>'approved' = 'true' then '{"approved": true}' else '{}' end::jsonb || case
         when decision->>'edited' = 'true' then '{"edited": true}' else '{}' end::jsonb)::json,
       outcome = case when status = 'outcome_unknown' and $4 then null else outcome end
   where run_id = $1 and tool_call_id = $2 and (outcome is null or status = 'outcome_unknown')`,
);

/**
 * Keeps what a person decided about a call, for the worker that goes on. The attempts so far are part of it: a decision
 * to retry holds for one more attempt, not for those that may fail after it. That the call was approved before stays known.
 */
export async function decideInvocation(
  tx: Tx,
  runId: string,
  toolCallId: string,
  decision: CallDecisionRecord,
): Promise<void> {
  // An abort answers nothing: what is known of the call stays as it was.
  await tx.query(decide, [uuidOf(runId), toolCallId, jsonbOf(decision), decision.kind !== "abort"]);
}

const edit = statement<{ tool_call_id: string }>(
  "invocation_edit",
  `update tool_invocations set arguments = $3::json
   where run_id = $1 and tool_call_id = $2 and attempts = 0 and outcome is null returning tool_call_id`,
);

/** What is sent in place of what the model asked for; the log keeps both. Before the decision that goes with it. */
export async function editInvocation(
  tx: Tx,
  runId: string,
  toolCallId: string,
  args: Record<string, unknown>,
): Promise<void> {
  const rows = await tx.query(edit, [uuidOf(runId), toolCallId, JSON.stringify(args)]);
  if (rows.length !== 1) throw new Error(`call ${toolCallId} has been sent`);
}

const settle = statement<{ tool_call_id: string }>(
  "invocation_settle",
  `update tool_invocations
   set decision = ($3::jsonb || jsonb_build_object('attempts', attempts))::json,
       status = case when $4 then 'succeeded' else 'outcome_unknown' end, finished_at = now()
   where run_id = $1 and tool_call_id = $2 and status in ('started', 'outcome_unknown')
   returning tool_call_id`,
);

/** Keeps what a person found out about a write whose run has ended. What was known before stays beside it. */
export async function settleInvocation(
  tx: Tx,
  runId: string,
  toolCallId: string,
  decision: CallDecisionRecord,
): Promise<void> {
  const rows = await tx.query(settle, [uuidOf(runId), toolCallId, jsonbOf(decision), decision.kind === "done"]);
  if (rows.length !== 1) throw new Error(`call ${toolCallId} is not open`);
}
