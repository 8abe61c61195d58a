/**
 * For property tests: logs as the engine writes them. A generated plan is played into events: runs with steps, texts,
 * reasoning, tool calls, retries, interrupts and every kind of end, with other people's events in between.
 */
import fc from "fast-check";
import { closeBrackets, noBrackets, trackBrackets, type OpenBrackets } from "./brackets.ts";
import type { Audience, StoredEnvelope } from "./envelope.ts";
import { custom, type ConversationEvent, type Interrupt } from "./events.ts";

const CONVERSATION = "conv_00000000000000000000000000000001";

interface Entry {
  runId: string | null;
  audience: Audience;
  event: ConversationEvent;
}

const piece = fc.string({ minLength: 1, maxLength: 6, unit: "grapheme" });
const pieces = fc.array(piece, { minLength: 1, maxLength: 5 });

const call = fc.record({ args: pieces, isShown: fc.boolean(), isAnswered: fc.boolean() });
const attempt = fc.record({
  reasoning: fc.option(pieces),
  text: fc.option(pieces),
  citations: fc.nat(2),
  calls: fc.array(call, { maxLength: 2 }),
});
const step = fc.record({
  /** Attempts that broke after so many events and were superseded. */
  failures: fc.array(fc.record({ attempt, cutAfter: fc.nat(8) }), { maxLength: 2 }),
  attempt,
  interrupt: fc.option(
    fc.record({
      reason: fc.constantFrom("approval" as const, "operator" as const, "client_tool" as const),
      count: fc.integer({ min: 1, max: 3 }),
    }),
    { freq: 4 },
  ),
});
const run = fc.record({
  question: pieces,
  queued: fc.option(fc.nat(9)),
  steps: fc.array(step, { minLength: 1, maxLength: 3 }),
  end: fc.constantFrom("success" as const, "limit" as const, "cancelled" as const, "error" as const, "open" as const),
  /** Events written when the end comes, for the ends that cut a run short. */
  cutAfter: fc.nat(40),
});
type RunPlan = typeof run extends fc.Arbitrary<infer T> ? T : never;

/** What others write into the conversation, at a place given as a fraction of its length. */
const interjection = fc.record({
  place: fc.double({ min: 0, max: 1, noNaN: true }),
  kind: fc.constantFrom(
    "operator",
    "mode",
    "future event",
    "future fact",
    "decided",
    "edited",
    "budget",
    "fork",
    "note",
  ),
  text: piece,
});

/** A whole conversation. */
export const conversationLog: fc.Arbitrary<StoredEnvelope[]> = fc
  .record({
    runs: fc.array(run, { minLength: 1, maxLength: 3 }),
    interjections: fc.array(interjection, { maxLength: 5 }),
  })
  .map(({ runs, interjections }) => {
    const ids = counter();
    let entries = runs.flatMap((plan) => playRun(plan, ids));
    for (const { place, kind, text } of interjections) {
      const at = Math.floor(place * entries.length);
      entries = [...entries.slice(0, at), ...interject(kind, text, ids), ...entries.slice(at)];
    }
    return entries.map(toEnvelope);
  });

/** One run's events from `RUN_STARTED` on, as the worker writes them, not yet ended. */
export const openRun: fc.Arbitrary<ConversationEvent[]> = run.map((plan) =>
  playRun({ ...plan, end: "open" }, counter())
    .map(({ event }) => event)
    .filter((event) => !isUserMessage(event) && !(event.type === "CUSTOM" && event.name === "run.queued")),
);

/** The text of a user message belongs to the run's row, not to what the run itself writes. */
function isUserMessage(event: ConversationEvent): boolean {
  return "messageId" in event && event.messageId.startsWith("msg_user");
}

type Ids = (prefix: string) => string;

function counter(): Ids {
  let n = 0;
  return (prefix) => `${prefix}_${(++n).toString(16).padStart(32 - (prefix.length - 3), "0")}`;
}

function toEnvelope({ runId, audience, event }: Entry, index: number): StoredEnvelope {
  return {
    seq: index + 1,
    conversationId: CONVERSATION,
    runId,
    at: new Date(Date.UTC(2026, 0, 1) + index).toISOString(),
    correlationId: "test",
    audience,
    event,
  };
}

function playRun(plan: RunPlan, ids: Ids): Entry[] {
  const runId = ids("run");
  const threadId = CONVERSATION;
  const mine: Entry[] = [];
  let open = noBrackets;
  const isShort = plan.end === "cancelled" || plan.end === "error";
  let budget = isShort ? plan.cutAfter : Infinity;
  const emit = (event: ConversationEvent, audience: Audience = "all") => {
    if (budget-- <= 0) return;
    open = trackBrackets(open, event);
    mine.push({ runId, audience, event });
  };
  const user = ids("msg_user");
  const before: Entry[] = [
    { type: "TEXT_MESSAGE_START" as const, messageId: user, role: "user" as const },
    ...plan.question.map((delta) => ({ type: "TEXT_MESSAGE_CONTENT" as const, messageId: user, delta })),
    { type: "TEXT_MESSAGE_END" as const, messageId: user },
    ...(plan.queued === null ? [] : [custom("run.queued", { position: plan.queued, expectedDelayMs: 100 })]),
    { type: "RUN_STARTED" as const, threadId, runId },
  ].map((event) => ({ runId, audience: "all", event }));

  for (const [index, { failures, attempt, interrupt }] of plan.steps.entries()) {
    for (const { attempt: failed, cutAfter } of failures) {
      const from = mine.length;
      const events = playAttempt(`step-${index}`, failed, ids, open).slice(0, cutAfter + 1);
      for (const { event, audience } of events) emit(event, audience);
      for (const event of closeBrackets(open)) emit(event);
      const written = mine.slice(from).map(({ event }) => event);
      emit(custom("run.retrying", { attempt: 2, delayMs: 10, reason: "overloaded" }));
      emit(custom("run.superseded", startedIn(written)));
    }
    for (const { event, audience } of playAttempt(`step-${index}`, attempt, ids, open)) emit(event, audience);
    if (interrupt) {
      for (const event of closeBrackets({ ...open, unanswered: [] })) emit(event);
      const interrupts = Array.from({ length: interrupt.count }, () => interruptOf(interrupt.reason, ids));
      emit({ type: "RUN_FINISHED", threadId, runId, outcome: { type: "interrupt", interrupts } });
      for (const { id } of interrupts) {
        emit(custom("run.resumed", { interruptId: id, decision: "retry", by: "operator" }));
      }
      emit({ type: "RUN_STARTED", threadId, runId });
    }
    for (const event of closeBrackets(open, { answer: { content: "done", newMessageId: () => ids("msg") } })) {
      emit(event);
    }
  }
  budget = Infinity;
  if (plan.end === "open") return [...before, ...mine];
  if (waits(mine)) emit({ type: "RUN_STARTED", threadId, runId });
  for (const event of closeBrackets(open, { answer: { content: "stopped", newMessageId: () => ids("msg") } }))
    emit(event);
  emit(
    plan.end === "error"
      ? { type: "RUN_ERROR", code: "internal", message: "Something went wrong.", usage: [{ inputTokens: 3 }] }
      : plan.end === "cancelled"
        ? {
            type: "RUN_FINISHED",
            threadId,
            runId,
            outcome: { type: "cancelled" },
            result: { finishReason: "cancelled" },
          }
        : {
            type: "RUN_FINISHED",
            threadId,
            runId,
            outcome: { type: "success" },
            result: { finishReason: plan.end === "limit" ? "limit" : "stop" },
            usage: [{ provider: "openai", model: "test", inputTokens: 3, outputTokens: 4, totalTokens: 7 }],
          },
  );
  return [...before, ...mine];
}

/** True when the run was parked and not started again. */
function waits(entries: readonly Entry[]): boolean {
  const last = entries.findLast(({ event }) => event.type === "RUN_STARTED" || event.type === "RUN_FINISHED");
  return last?.event.type === "RUN_FINISHED";
}

function playAttempt(
  stepName: string,
  plan: typeof attempt extends fc.Arbitrary<infer T> ? T : never,
  ids: Ids,
  open: OpenBrackets,
): { event: ConversationEvent; audience: Audience }[] {
  const events: { event: ConversationEvent; audience: Audience }[] = [];
  const add = (event: ConversationEvent, audience: Audience = "all") => void events.push({ event, audience });
  if (open.stepName === null) add({ type: "STEP_STARTED", stepName });
  if (plan.reasoning) {
    const messageId = ids("msg");
    add({ type: "REASONING_START", messageId }, "staff");
    add({ type: "REASONING_MESSAGE_START", messageId, role: "reasoning" }, "staff");
    for (const delta of plan.reasoning) add({ type: "REASONING_MESSAGE_CONTENT", messageId, delta }, "staff");
    add({ type: "REASONING_MESSAGE_END", messageId }, "staff");
    add({ type: "REASONING_END", messageId }, "staff");
  }
  let parentMessageId: string | undefined;
  if (plan.text) {
    const messageId = ids("msg");
    parentMessageId = messageId;
    add({ type: "TEXT_MESSAGE_START", messageId, role: "assistant" });
    for (const delta of plan.text) add({ type: "TEXT_MESSAGE_CONTENT", messageId, delta });
    for (let i = 0; i < plan.citations; i++) {
      add(
        custom("citation", {
          messageId,
          number: i + 1,
          documentId: ids("doc"),
          title: `Title ${i}`,
          url: null,
          quote: "A quote.",
        }),
      );
    }
    add({ type: "TEXT_MESSAGE_END", messageId });
  }
  const calls = plan.calls.map((one) => ({ ...one, toolCallId: ids("call") }));
  for (const { toolCallId, args, isShown } of calls) {
    add({
      type: "TOOL_CALL_START",
      toolCallId,
      toolCallName: "look_up",
      ...(parentMessageId ? { parentMessageId } : {}),
    });
    for (const delta of args) add({ type: "TOOL_CALL_ARGS", toolCallId, delta }, isShown ? "all" : "staff");
    add({ type: "TOOL_CALL_END", toolCallId });
    if (isShown) add(custom("tool.progress", { toolCallId, text: args.join("") }));
  }
  for (const { toolCallId, isAnswered, isShown } of calls) {
    if (!isAnswered) continue;
    const result = { messageId: ids("msg"), toolCallId, content: "found", role: "tool" as const };
    add({ type: "TOOL_CALL_RESULT", ...result }, isShown ? "all" : "staff");
  }
  return events;
}

function startedIn(events: readonly ConversationEvent[]): { messageIds: string[]; toolCallIds: string[] } {
  return {
    messageIds: events.flatMap((event) => (event.type === "TEXT_MESSAGE_START" ? [event.messageId] : [])),
    toolCallIds: events.flatMap((event) => (event.type === "TOOL_CALL_START" ? [event.toolCallId] : [])),
  };
}

function interruptOf(reason: Interrupt["reason"], ids: Ids): Interrupt {
  return {
    id: ids("int"),
    reason,
    message: "Someone must look at this.",
    metadata: { provider: "openai", code: "overloaded", attempts: 4 },
    responseSchema: { type: "object" },
  };
}

function interject(kind: string, text: string, ids: Ids): Entry[] {
  const everyone = (event: ConversationEvent): Entry => ({ runId: null, audience: "all", event });
  switch (kind) {
    case "operator": {
      const messageId = ids("msg");
      return [
        everyone(custom("operator.joined", { name: "Ada" })),
        everyone({ type: "TEXT_MESSAGE_START", messageId, role: "assistant", name: "Ada" }),
        everyone({ type: "TEXT_MESSAGE_CONTENT", messageId, delta: text }),
        everyone({ type: "TEXT_MESSAGE_END", messageId }),
      ];
    }
    case "mode":
      return [everyone(custom("conversation.mode", { mode: text.length % 2 === 0 ? "agent" : "operator" }))];
    case "future event":
      return [everyone({ type: "FROM_THE_FUTURE", value: text } as unknown as ConversationEvent)];
    case "future fact":
      return [everyone({ type: "CUSTOM", name: "from.the.future", value: { text } } as unknown as ConversationEvent)];
    case "decided": {
      const value = { runId: ids("run"), toolCallId: ids("call"), interruptId: ids("int") };
      const event = custom("call.decided", { ...value, decision: "done", by: "operator" });
      return [{ runId: null, audience: "staff", event }];
    }
    case "edited": {
      const value = { toolCallId: ids("call"), interruptId: ids("int"), arguments: { text } };
      return [{ runId: null, audience: "staff", event: custom("call.edited", { ...value, by: "operator" }) }];
    }
    case "budget": {
      const budget = { budgetId: ids("budget"), name: text, subject: "tenant", subjectId: ids("tenant") } as const;
      const standing = {
        period: "day",
        startsOn: "2026-11-23",
        metric: "tokens",
        percent: 80,
        action: "warn",
      } as const;
      return [{ runId: null, audience: "staff", event: custom("budget.reached", { ...budget, ...standing }) }];
    }
    case "fork": {
      const origin = { runId: ids("run"), conversationId: ids("conv"), seq: text.length };
      return [{ runId: null, audience: "staff", event: custom("run.forked", origin) }];
    }
    default:
      return [{ runId: null, audience: "staff", event: custom("operator.left", { name: "Ada" }) }];
  }
}
