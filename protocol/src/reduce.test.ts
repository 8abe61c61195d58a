import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversationLog } from "./arbitrary-log.ts";
import { forAudience, type Envelope } from "./envelope.ts";
import { custom, METADATA_KEY, type ConversationEvent, type Interrupt } from "./events.ts";
import { reduce } from "./reduce.ts";
import { initialState, type ConversationState } from "./state.ts";

const CONVERSATION = "conv_1";
const RUN = "run_1";

function log(
  events: readonly ConversationEvent[],
  options: { after?: number; runId?: string | null } = {},
): Envelope[] {
  return events.map((event, index) => ({
    seq: (options.after ?? 0) + index + 1,
    conversationId: CONVERSATION,
    runId: options.runId === undefined ? RUN : options.runId,
    at: `2026-01-01T00:00:00.00${index}Z`,
    correlationId: "c",
    event,
  }));
}

const fold = (...events: ConversationEvent[]): ConversationState => reduce(initialState, log(events));

const asked: ConversationEvent[] = [
  { type: "TEXT_MESSAGE_START", messageId: "msg_q", role: "user" },
  { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_q", delta: "When do you " },
  { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_q", delta: "open?" },
  { type: "TEXT_MESSAGE_END", messageId: "msg_q" },
];
const started: ConversationEvent = { type: "RUN_STARTED", threadId: CONVERSATION, runId: RUN };
const answering: ConversationEvent[] = [
  { type: "STEP_STARTED", stepName: "step-0" },
  { type: "TEXT_MESSAGE_START", messageId: "msg_a", role: "assistant" },
  { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_a", delta: "At nine." },
];
const answered: ConversationEvent[] = [
  ...answering,
  { type: "TEXT_MESSAGE_END", messageId: "msg_a" },
  { type: "STEP_FINISHED", stepName: "step-0" },
];

function finished(outcome: "success" | "cancelled", extra: object = {}): ConversationEvent {
  return { type: "RUN_FINISHED", threadId: CONVERSATION, runId: RUN, outcome: { type: outcome }, ...extra };
}

describe("messages", () => {
  test("a visitor's message is there in whole, and its run is queued", () => {
    const state = fold(...asked);
    expect(state.messages).toEqual([
      {
        id: "msg_q",
        seq: 1,
        runId: RUN,
        stepName: null,
        role: "user",
        name: null,
        text: "When do you open?",
        status: "complete",
        citations: [],
        at: "2026-01-01T00:00:00.000Z",
      },
    ]);
    expect(state.runs[RUN]).toMatchObject({ status: "queued", queue: null, startedAt: null });
    expect(state).toMatchObject({ lastSeq: 4, activeRunId: null });
  });

  test("an answer streams, then is complete; it knows its step", () => {
    const streaming = fold(...asked, started, ...answering);
    expect(streaming.messages[1]).toMatchObject({ text: "At nine.", status: "streaming", stepName: "step-0" });
    const state = fold(...asked, started, ...answered);
    expect(state.messages[1]).toMatchObject({ text: "At nine.", status: "complete", runId: RUN });
    expect(state.runs[RUN]).toMatchObject({ status: "running", stepName: null });
  });

  test("a text that was cut short keeps what it said and is incomplete", () => {
    const metadata = { [METADATA_KEY]: { incomplete: true } };
    const state = fold(...asked, started, ...answering, { type: "TEXT_MESSAGE_END", messageId: "msg_a", metadata });
    expect(state.messages[1]).toMatchObject({ text: "At nine.", status: "incomplete" });
  });

  test.each([undefined, {}, { [METADATA_KEY]: null }, { [METADATA_KEY]: { incomplete: "yes" } }, { other: 1 }])(
    "metadata %j does not make a text incomplete",
    (metadata) => {
      const state = fold(started, ...answering, { type: "TEXT_MESSAGE_END", messageId: "msg_a", metadata });
      expect(state.messages[0]?.status).toBe("complete");
    },
  );

  test("an operator's message is an assistant's with a name, outside any run", () => {
    const state = reduce(
      initialState,
      log(
        [
          { type: "TEXT_MESSAGE_START", messageId: "msg_o", role: "assistant", name: "Ada" },
          { type: "TEXT_MESSAGE_END", messageId: "msg_o" },
        ],
        { runId: null },
      ),
    );
    expect(state.messages[0]).toMatchObject({ name: "Ada", runId: null, role: "assistant", stepName: null });
    expect(state.runs).toEqual({});
  });

  test("citations gather on their message, in order", () => {
    const cite = (documentId: string) =>
      custom("citation", {
        messageId: "msg_a",
        number: 1,
        documentId,
        title: "Hours",
        url: null,
        quote: "Nine to five.",
      });
    const state = fold(started, ...answering, cite("doc_1"), cite("doc_2"));
    expect(state.messages[0]?.citations.map((citation) => citation.documentId)).toEqual(["doc_1", "doc_2"]);
  });

  test("content, ends, citations and results for what nobody started change nothing but the cursor", () => {
    const before = fold(...asked, started, ...answered);
    const stray: ConversationEvent[] = [
      { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_x", delta: "?" },
      { type: "TEXT_MESSAGE_END", messageId: "msg_x" },
      custom("citation", { messageId: "msg_x", number: 1, documentId: "doc_1", title: "", url: null, quote: "" }),
      { type: "TOOL_CALL_ARGS", toolCallId: "call_x", delta: "{" },
      { type: "TOOL_CALL_END", toolCallId: "call_x" },
      { type: "TOOL_CALL_RESULT", messageId: "msg_y", toolCallId: "call_x", content: "", role: "tool" },
    ];
    const after = reduce(before, log(stray, { after: before.lastSeq }));
    expect(after).toEqual({ ...before, lastSeq: before.lastSeq + stray.length });
  });
});

describe("tool calls", () => {
  const calling: ConversationEvent[] = [
    started,
    { type: "STEP_STARTED", stepName: "step-1" },
    { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "look_up", parentMessageId: "msg_a" },
    { type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: '{"a":' },
    { type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: "1}" },
  ];
  const end: ConversationEvent = { type: "TOOL_CALL_END", toolCallId: "call_1" };
  const result: ConversationEvent = {
    type: "TOOL_CALL_RESULT",
    messageId: "msg_r",
    toolCallId: "call_1",
    content: "found",
    role: "tool",
  };

  test("go from calling to running to done", () => {
    expect(fold(...calling).toolCalls).toEqual([
      {
        id: "call_1",
        seq: 3,
        runId: RUN,
        stepName: "step-1",
        name: "look_up",
        parentMessageId: "msg_a",
        args: '{"a":1}',
        status: "calling",
        result: null,
        at: "2026-01-01T00:00:00.002Z",
      },
    ]);
    expect(fold(...calling, end).toolCalls[0]).toMatchObject({ status: "running", result: null });
    expect(fold(...calling, end, result).toolCalls[0]).toMatchObject({ status: "done", result: "found" });
  });

  test("a late end does not undo a result", () => {
    expect(fold(...calling, result, end).toolCalls[0]).toMatchObject({ status: "done", result: "found" });
  });

  test("a call whose result is hidden is over when the run goes on to its next step, or ends", () => {
    const hidden = custom("hidden", {});
    const step = (index: number): ConversationEvent => ({ type: "STEP_STARTED", stepName: `step-${index}` });
    const before = fold(...calling, end, hidden);
    expect(before.toolCalls[0]).toMatchObject({ status: "running", result: null });
    for (const next of [step(2), finished("cancelled"), { type: "RUN_ERROR" as const, message: "Sorry." }]) {
      expect(reduce(before, log([next], { after: before.lastSeq })).toolCalls[0]).toMatchObject({ status: "done" });
    }
    const resumed = reduce(before, log([started, step(1)], { after: before.lastSeq }));
    expect(resumed.toolCalls[0]).toMatchObject({ status: "running" });
  });
});

describe("runs", () => {
  test("queueing is shown while the run is queued, and only then", () => {
    const queued = custom("run.queued", { position: 3, expectedDelayMs: 1_000 });
    expect(fold(...asked, queued).runs[RUN]).toMatchObject({ queue: { position: 3, expectedDelayMs: 1_000 } });
    expect(fold(...asked, started, queued).runs[RUN]).toEqual(fold(...asked, started).runs[RUN]);
  });

  test("a start makes the run active; success ends it with its reason and usage", () => {
    expect(fold(...asked, started)).toMatchObject({
      activeRunId: RUN,
      runs: { [RUN]: { status: "running", retry: null, startedAt: "2026-01-01T00:00:00.004Z" } },
    });
    const usage = [{ provider: "openai", inputTokens: 1 }];
    const state = fold(
      ...asked,
      started,
      ...answered,
      finished("success", { result: { finishReason: "limit" }, usage }),
    );
    expect(state.activeRunId).toBeNull();
    expect(state.runs[RUN]).toMatchObject({ status: "completed", finishReason: "limit", usage });
    expect(state.runs[RUN]).not.toHaveProperty("retry");
  });

  test("cancelled, also before it ever started", () => {
    expect(fold(...asked, started, finished("cancelled")).runs[RUN]?.status).toBe("cancelled");
    const early = fold(...asked, finished("cancelled"));
    expect(early.runs[RUN]).toMatchObject({ status: "cancelled", startedAt: null });
    expect(early.activeRunId).toBeNull();
  });

  test("an error fails the run with what visitors may know", () => {
    const state = fold(...asked, started, { type: "RUN_ERROR", code: "poison", message: "Sorry." });
    expect(state.runs[RUN]).toMatchObject({ status: "failed", error: { code: "poison", message: "Sorry." } });
    expect(state.activeRunId).toBeNull();
    expect(fold(started, { type: "RUN_ERROR", message: "Sorry." }).runs[RUN]).toMatchObject({
      error: { code: "internal" },
    });
  });

  test("waiting keeps the run active with its interrupts; a second start goes on with the first start's time", () => {
    const interrupts: Interrupt[] = [{ id: "int_1", reason: "operator", message: "Look." }];
    const parked: ConversationEvent = {
      type: "RUN_FINISHED",
      threadId: CONVERSATION,
      runId: RUN,
      outcome: { type: "interrupt", interrupts },
      usage: [{ inputTokens: 5 }],
    };
    const waiting = fold(...asked, started, parked);
    expect(waiting).toMatchObject({ activeRunId: RUN, runs: { [RUN]: { status: "waiting", interrupts } } });
    const resumed = reduce(
      waiting,
      log([custom("run.resumed", { interruptId: "int_1", decision: "retry", by: "operator" }), started], {
        after: waiting.lastSeq,
      }),
    );
    expect(resumed.runs[RUN]).toMatchObject({
      status: "running",
      startedAt: "2026-01-01T00:00:00.004Z",
      usage: [{ inputTokens: 5 }],
    });
    expect(resumed.runs[RUN]).not.toHaveProperty("interrupts");
  });

  test("of several interrupts each is gone when it is decided, and the run waits on", () => {
    const interrupts: Interrupt[] = ["int_1", "int_2"].map((id) => ({ id, reason: "approval" }));
    const outcome = { type: "interrupt" as const, interrupts };
    const parked: ConversationEvent = { type: "RUN_FINISHED", threadId: CONVERSATION, runId: RUN, outcome };
    const decided = (interruptId: string) => custom("run.resumed", { interruptId, decision: "approve", by: "visitor" });
    const first = fold(...asked, started, parked, decided("int_2")).runs[RUN];
    expect(first).toMatchObject({ status: "waiting", interrupts: [{ id: "int_1" }] });
    const both = fold(...asked, started, parked, decided("int_2"), decided("int_1")).runs[RUN];
    expect(both).toMatchObject({ status: "waiting", interrupts: [] });
  });

  test("an outcome from a later version leaves the run as it was", () => {
    const strange = { ...finished("success"), outcome: { type: "paused" } } as unknown as ConversationEvent;
    expect(fold(...asked, started, strange)).toEqual({ ...fold(...asked, started), lastSeq: 6 });
  });

  test("a retry is shown until the broken attempt is superseded", () => {
    const retrying = custom("run.retrying", { attempt: 2, delayMs: 400, reason: "overloaded" });
    const superseded = custom("run.superseded", { messageIds: ["msg_a"], toolCallIds: [] });
    expect(fold(started, ...answering, retrying).runs[RUN]).toMatchObject({ retry: { attempt: 2, delayMs: 400 } });
    const state = fold(started, ...answering, retrying, superseded);
    expect(state.runs[RUN]).toMatchObject({ status: "running", retry: null });
    expect(state.messages).toEqual([]);
  });

  test("superseding takes away what it names and leaves the rest, also in the same batch", () => {
    const state = fold(
      ...asked,
      started,
      ...answering,
      { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "look_up" },
      custom("run.superseded", { messageIds: ["msg_a"], toolCallIds: ["call_1"] }),
      { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_a", delta: "late" },
      { type: "TEXT_MESSAGE_START", messageId: "msg_b", role: "assistant" },
      { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_b", delta: "At ten." },
    );
    expect(state.messages.map(({ id, text }) => [id, text])).toEqual([
      ["msg_q", "When do you open?"],
      ["msg_b", "At ten."],
    ]);
    expect(state.toolCalls).toEqual([]);
  });

  test("the end of another run does not free the active one", () => {
    const other = reduce(
      fold(...asked, started),
      log([{ type: "RUN_FINISHED", threadId: CONVERSATION, runId: "run_2", outcome: { type: "cancelled" } }], {
        after: 5,
        runId: "run_2",
      }),
    );
    expect(other.activeRunId).toBe(RUN);
    expect(other.runs["run_2"]?.status).toBe("cancelled");
  });
});

test("the mode of a conversation follows who answers", () => {
  expect(fold(custom("conversation.mode", { mode: "operator" })).mode).toBe("operator");
  expect(
    fold(custom("conversation.mode", { mode: "operator" }), custom("conversation.mode", { mode: "agent" })).mode,
  ).toBe("agent");
});

test("unknown events, reasoning and hidden ones change nothing but the cursor", () => {
  const before = fold(...asked, started, ...answering);
  const events = [
    { type: "FROM_THE_FUTURE", messageId: "msg_a", runId: RUN },
    { type: "CUSTOM", name: "from.the.future", value: { messageId: "msg_a" } },
    { type: "CUSTOM", name: "toString", value: null },
    { type: "STATE_SNAPSHOT", snapshot: {} },
    custom("hidden", {}),
    { type: "REASONING_START", messageId: "msg_r" },
    { type: "REASONING_MESSAGE_START", messageId: "msg_r", role: "reasoning" },
    { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_r", delta: "hm" },
    { type: "REASONING_MESSAGE_END", messageId: "msg_r" },
    { type: "REASONING_END", messageId: "msg_r" },
    custom("operator.joined", { name: "Ada" }),
    custom("connection.updated", { connectionId: "conn_1", status: "active" }),
  ] as ConversationEvent[];
  const after = reduce(before, log(events, { after: before.lastSeq }));
  expect(after).toEqual({ ...before, lastSeq: before.lastSeq + events.length });
});

test("an empty delivery answers the very same state", () => {
  const state = fold(...asked);
  expect(reduce(state, [])).toBe(state);
});

function freeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
}

test("any log, folded in any portions and by any reader: the same state, and no state is ever written to", () => {
  fc.assert(
    fc.property(
      conversationLog,
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
      fc.constantFrom("all" as const, "staff" as const),
      (stored, sizes, reader) => {
        const envelopes = freeze(stored.map((envelope) => forAudience(envelope, reader)));
        const whole = reduce(initialState, envelopes);
        let state = initialState;
        for (let at = 0, turn = 0; at < envelopes.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          // Frozen all the way down: a write to an input state or to an event throws.
          state = freeze(reduce(state, envelopes.slice(at, at + size)));
          at += size;
        }
        expect(state).toEqual(whole);
        expect(state.lastSeq).toBe(envelopes.length);
      },
    ),
  );
});
