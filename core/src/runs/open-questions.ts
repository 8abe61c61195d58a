/**
 * What is left open when a run has ended and a write of it was sent without an answer: nobody knows whether it
 * happened. The question outlives the run: staff find it at the run, and decide it by the same route.
 */
import type { Interrupt } from "@agent-engine/protocol/events.ts";

/** A row of `OPEN_QUESTIONS`, as JSON. */
export interface OpenQuestion {
  id: string;
  toolCallId: string;
  toolkit: string | null;
  host: string | null;
  tool: string;
  stepIndex: number;
  arguments: Record<string, unknown>;
  attempts: number;
  idempotencyKey: string;
  /** ISO 8601 UTC. */
  sentAt: string | null;
  failure: { code: string; detail: string; requestId: string | null } | null;
}

/**
 * A column of `runs r`: its open questions, null for a run that has not ended so. An interrupt that was asked while the
 * run waited keeps its id; for a write that was cut short by the end of its run one follows from its key.
 */
export const OPEN_QUESTIONS = `
  case when r.status in ('failed', 'cancelled') then (
    select json_agg(json_build_object(
      'id', coalesce(i.outcome->>'interruptId', 'int_' || md5(i.idempotency_key)), 'toolCallId', i.tool_call_id,
      'toolkit', i.toolkit, 'host', i.host, 'tool', i.tool, 'stepIndex', i.step_index, 'arguments', i.arguments,
      'attempts', i.attempts, 'idempotencyKey', i.idempotency_key, 'failure', i.outcome->'failure',
      'sentAt', to_char(i.started_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    ) order by i.step_index, i.call_index)
    from tool_invocations i
    where i.run_id = r.id and i.effect = 'write' and i.status in ('started', 'outcome_unknown')
      and coalesce(i.decision->>'kind', '') not in ('done', 'abort')
  ) end as open_questions`;

const ENDED_MEANWHILE = {
  code: "interrupted",
  detail: "The run ended before the call was answered.",
  requestId: null,
};

/** The question as staff read it. There is no `retry`: a run that has ended sends nothing any more. */
export function openInterrupt(question: OpenQuestion): Interrupt {
  const { code, detail, requestId } = question.failure ?? ENDED_MEANWHILE;
  return {
    id: question.id,
    reason: "operator",
    message: "The run has ended, and nobody knows whether this action went through. Find out, then decide.",
    toolCallId: question.toolCallId,
    metadata: {
      kind: "tool",
      provider: question.toolkit,
      host: question.host,
      tool: question.tool,
      effect: "write",
      stepIndex: question.stepIndex,
      outcome: "unknown",
      code,
      detail,
      requestId,
      attempts: question.attempts,
      arguments: question.arguments,
      idempotencyKey: question.idempotencyKey,
      sentAt: question.sentAt,
      choices: ["done", "abort"],
    },
  };
}
