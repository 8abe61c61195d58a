/** Holds our event types against AG-UI's own validators: what we write is what its clients can read. */
import { EventSchemas } from "@ag-ui/core/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversationLog } from "./arbitrary-log.ts";
import {
  custom,
  isTerminal,
  METADATA_KEY,
  type ConversationEvent,
  type CustomName,
  type CustomValues,
} from "./events.ts";

type EventType = ConversationEvent["type"];
type EventOf<Type extends EventType> = Extract<ConversationEvent, { type: Type }>;

const RUN = { threadId: "conv_1", runId: "run_1" };
const metadata = { [METADATA_KEY]: { incomplete: true } };
const usage = [
  {
    provider: "openai",
    model: "gpt",
    inputTokens: 1,
    outputTokens: 2,
    totalTokens: 3,
    reasoningTokens: 1,
    cachedInputTokens: 0,
  },
];

/** Every type with every optional field set, and once without: a new type fails to compile until it stands here. */
const examples: { [Type in EventType]: EventOf<Type>[] } = {
  RUN_STARTED: [{ type: "RUN_STARTED", ...RUN }],
  RUN_FINISHED: [
    { type: "RUN_FINISHED", ...RUN, outcome: { type: "success" }, result: { finishReason: "stop" }, usage },
    { type: "RUN_FINISHED", ...RUN, outcome: { type: "cancelled" } },
    {
      type: "RUN_FINISHED",
      ...RUN,
      outcome: {
        type: "interrupt",
        interrupts: [
          { id: "int_1", reason: "operator" },
          {
            id: "int_2",
            reason: "approval",
            message: "May I?",
            toolCallId: "call_1",
            responseSchema: { type: "object" },
            expiresAt: "2026-01-01T00:00:00.000Z",
            metadata: { tool: "refund" },
          },
        ],
      },
    },
  ],
  RUN_ERROR: [
    { type: "RUN_ERROR", message: "Sorry." },
    { type: "RUN_ERROR", message: "Sorry.", code: "poison", usage },
  ],
  STEP_STARTED: [{ type: "STEP_STARTED", stepName: "step-0" }],
  STEP_FINISHED: [{ type: "STEP_FINISHED", stepName: "step-0" }],
  TEXT_MESSAGE_START: [
    { type: "TEXT_MESSAGE_START", messageId: "msg_1", role: "user" },
    { type: "TEXT_MESSAGE_START", messageId: "msg_1", role: "assistant", name: "Ada", metadata },
  ],
  TEXT_MESSAGE_CONTENT: [
    { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: "a" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: "\u0000 \ud800 \u2028" },
  ],
  TEXT_MESSAGE_END: [
    { type: "TEXT_MESSAGE_END", messageId: "msg_1" },
    { type: "TEXT_MESSAGE_END", messageId: "msg_1", metadata },
  ],
  TOOL_CALL_START: [
    { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "look_up" },
    { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "look_up", parentMessageId: "msg_1" },
  ],
  TOOL_CALL_ARGS: [{ type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: "{}" }],
  TOOL_CALL_END: [
    { type: "TOOL_CALL_END", toolCallId: "call_1" },
    { type: "TOOL_CALL_END", toolCallId: "call_1", metadata },
  ],
  TOOL_CALL_RESULT: [
    { type: "TOOL_CALL_RESULT", messageId: "msg_1", toolCallId: "call_1", content: "found", role: "tool" },
    { type: "TOOL_CALL_RESULT", messageId: "msg_1", toolCallId: "call_1", content: "", role: "tool", metadata },
  ],
  REASONING_START: [{ type: "REASONING_START", messageId: "msg_1" }],
  REASONING_MESSAGE_START: [{ type: "REASONING_MESSAGE_START", messageId: "msg_1", role: "reasoning" }],
  REASONING_MESSAGE_CONTENT: [{ type: "REASONING_MESSAGE_CONTENT", messageId: "msg_1", delta: "hm" }],
  REASONING_MESSAGE_END: [{ type: "REASONING_MESSAGE_END", messageId: "msg_1" }],
  REASONING_END: [{ type: "REASONING_END", messageId: "msg_1" }],
  CUSTOM: [],
};

const facts: CustomValues = {
  citation: { messageId: "msg_1", number: 1, documentId: "doc_1", title: "Hours", url: null, quote: "Nine to five." },
  hidden: {},
  "run.queued": { position: 1, expectedDelayMs: 100 },
  "run.retrying": { attempt: 2, delayMs: 100, reason: "overloaded" },
  "run.superseded": { messageIds: ["msg_1"], toolCallIds: [] },
  "run.forked": { runId: "run_1", conversationId: "conv_1", seq: 9 },
  "run.resumed": { interruptId: "int_1", decision: "retry", by: "operator" },
  "call.decided": {
    runId: "run_1",
    toolCallId: "call_1",
    interruptId: "int_1",
    decision: "done",
    by: "operator",
  },
  "call.edited": { toolCallId: "call_1", interruptId: "int_1", arguments: { to: "Ada" }, by: "operator" },
  "tool.progress": { toolCallId: "call_1", text: "Page 2 of 7" },
  "budget.reached": {
    budgetId: "budget_1",
    name: "Everybody's day",
    subject: "tenant",
    subjectId: "tenant_1",
    period: "day",
    startsOn: "2026-11-23",
    metric: "cost",
    percent: 80,
    action: "warn",
  },
  "operator.joined": { name: "Ada" },
  "operator.left": { name: "Ada" },
  "conversation.mode": { mode: "operator" },
  "connection.updated": { connectionId: "conn_1", status: "active" },
};
const customExamples = Object.entries(facts).map(([name, value]) => custom(name as CustomName, value as never));
const all: ConversationEvent[] = [...Object.values(examples).flat(), ...customExamples];

describe("AG-UI's validators take every event we can write, and change nothing in it", () => {
  test.each(all.map((event) => [event.type === "CUSTOM" ? event.name : event.type, event] as const))(
    "%s",
    (_name, event) => {
      expect(EventSchemas.parse(event)).toEqual(event);
    },
  );

  test("any log", () => {
    fc.assert(
      fc.property(conversationLog, (log) => {
        for (const { event } of log) {
          if ((event.type as string) === "FROM_THE_FUTURE") continue;
          expect(EventSchemas.parse(event)).toEqual(event);
        }
      }),
    );
  });
});

test("an event survives the wire as it is", () => {
  for (const event of all) expect(JSON.parse(JSON.stringify(event))).toEqual(event);
});

test("terminal are success, cancelled and an error; an interrupt is not", () => {
  const names = all
    .filter(isTerminal)
    .map((event) => (event.type === "RUN_FINISHED" ? event.outcome.type : event.type));
  expect(names).toEqual(["success", "cancelled", "RUN_ERROR", "RUN_ERROR"]);
});
