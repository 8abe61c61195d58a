/** A fork's rows: its conversation with the copied log, its run, and the messages and steps that the copy holds. */
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Message } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { appendToConversation, appendToConversationValues } from "../events/append.ts";
import { uuidOf } from "../ids.ts";
import { stepKey } from "./end-run.ts";
import type { ForkHistory } from "./fork-history.ts";
import type { Original } from "./fork-original.ts";
import type { ForkSettings } from "./fork-settings.ts";
import { invocationKey } from "./invocation-key.ts";
import { toMessage, type MessageRow } from "./run-row.ts";

// It has no visitor: nobody but staff may see it, and tools act in it for nobody.
const insertConversation = statement(
  "fork_conversation",
  `with conversation as (
     insert into conversations (id, tenant_id, agent_id, forked_from, forked_from_run, forked_from_seq)
     values ($1, $2, $3, $4, $5, $6) returning id, tenant_id
   )
   insert into conversation_heads (conversation_id, tenant_id) select id, tenant_id from conversation`,
);

const insertRun = statement(
  "fork_run",
  `insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id, first_seq, fork)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
);

// Runs that the copy only tells of have no row: they were executed elsewhere.
const insertMessages = statement<MessageRow>(
  "fork_messages",
  `insert into messages (id, tenant_id, conversation_id, run_id, role, text)
   select m.id, $1, $2, m.run_id, m.role, m.text from unnest($3::uuid[], $4::uuid[], $5::text[], $6::text[]) as m (id, run_id, role, text)
   returning id, conversation_id, client_message_id, role, text, created_at`,
);

// Their usage is the original's. The last one is where the run goes on, and is closed by what follows it.
const insertSteps = statement(
  "fork_steps",
  `insert into steps (run_id, step_index, tenant_id, key, status, text, finished_at)
   select $1, s.index, $2, s.key, case when s.index = max(s.index) over () then 'tools' else 'finished' end, s.text,
     case when s.index < max(s.index) over () then now() end
   from unnest($3::int[], $4::text[], $5::text[]) as s (index, key, text)`,
);

const insertInvocations = statement(
  "fork_invocations",
  `insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments,
     toolkit, host, status, outcome, reused_from, finished_at)
   select i.key, $1, $2, i.step_index, i.call_index, i.tool_call_id, i.tool, i.effect, i.arguments::json, i.toolkit, i.host,
     i.status, i.outcome::json, i.reused_from, case when i.outcome is not null then now() end
   from unnest($3::text[], $4::int[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
     $12::text[], $13::text[], $14::text[])
     as i (key, step_index, call_index, tool_call_id, tool, effect, arguments, toolkit, host, status, outcome, reused_from)`,
);

export interface NewFork {
  original: Original;
  history: ForkHistory;
  fork: ForkSettings;
}

/** Answers the message that the fork's run is to answer. */
export async function storeFork(ctx: Ctx, tx: Tx, input: NewFork): Promise<Message> {
  const { original, history, fork } = input;
  const { from } = fork;
  const tenant = uuidOf(ctx.tenantId);
  const conversation = uuidOf(history.conversationId);
  await tx.query(insertConversation, [
    conversation,
    tenant,
    original.agent,
    uuidOf(from.conversationId),
    uuidOf(from.runId),
    from.seq,
  ]);
  await appendHistory(ctx, tx, history);
  await tx.query(insertRun, [
    uuidOf(history.runId),
    tenant,
    conversation,
    original.agent,
    original.agentVersion,
    original.queueClass,
    ctx.correlationId,
    history.firstSeq,
    jsonbOf(fork),
  ]);
  const said = history.state.messages.filter(({ text }) => text !== "");
  const messages = await tx.query(insertMessages, [
    tenant,
    conversation,
    said.map(({ id }) => uuidOf(id)),
    said.map(({ runId }) => (runId === history.runId ? uuidOf(runId) : null)),
    said.map(({ role }) => role),
    said.map(({ text }) => cleanText(text)),
  ]);
  await storeSteps(ctx, tx, history);
  const message = messages.map(toMessage).find(({ id }) => id === history.messageId);
  if (!message) throw new Error(`the message of ${history.runId} was not copied`);
  return message;
}

/** Events in one statement; the copy is published to nobody, since nobody knows of the conversation yet. */
const EVENTS_AT_ONCE = 1_000;

async function appendHistory(ctx: Ctx, tx: Tx, { conversationId, events }: ForkHistory): Promise<void> {
  for (let from = 0; from < events.length; from += EVENTS_AT_ONCE) {
    const values = appendToConversationValues({
      conversationId,
      tenantId: ctx.tenantId,
      fence: null,
      events: events
        .slice(from, from + EVENTS_AT_ONCE)
        .map((entry) => ({ ...entry, correlationId: ctx.correlationId })),
    });
    const [row] = await tx.query(appendToConversation, values);
    if (row?.outcome !== "ok") throw new Error(`the new conversation ${conversationId} has no head`);
  }
}

async function storeSteps(ctx: Ctx, tx: Tx, { runId, steps }: ForkHistory): Promise<void> {
  if (steps.length === 0) return;
  const tenant = uuidOf(ctx.tenantId);
  await tx.query(insertSteps, [
    uuidOf(runId),
    tenant,
    steps.map(({ index }) => index),
    steps.map(({ index }) => stepKey(runId, index)),
    steps.map(({ text }) => cleanText(text)),
  ]);
  const all = steps.flatMap((step) => step.invocations.map((one) => ({ ...one, stepIndex: step.index })));
  await tx.query(insertInvocations, [
    tenant,
    uuidOf(runId),
    all.map(({ stepIndex, callIndex }) => invocationKey(runId, stepIndex, callIndex)),
    all.map(({ stepIndex }) => stepIndex),
    all.map(({ callIndex }) => callIndex),
    all.map(({ toolCallId }) => toolCallId),
    all.map(({ tool }) => tool),
    all.map(({ effect }) => effect),
    all.map((one) => JSON.stringify(one.arguments)),
    all.map(({ toolkit }) => toolkit),
    all.map(({ host }) => host),
    all.map(({ outcome }) => outcome?.status ?? "intended"),
    all.map(({ outcome }) => outcome && JSON.stringify(outcome)),
    all.map(({ outcome }) => outcome?.reused.key ?? null),
  ]);
}
