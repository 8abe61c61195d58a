import { expect, test } from "vitest";
import { custom, type ConversationEvent } from "@agent-engine/protocol/events.ts";
import { newId } from "../ids.ts";
import { changeOf } from "./conversation-change.ts";

const conversationId = newId("conv");

function changeIn(...events: ConversationEvent[]) {
  const common = { conversationId, runId: null, at: "t", correlationId: "c", audience: "all" as const };
  const envelopes = events.map((event, index) => ({ ...common, seq: 5 + index, event }));
  return changeOf({ conversationId, tenantId: newId("tenant"), events: envelopes });
}

const DELTA: ConversationEvent = { type: "TEXT_MESSAGE_CONTENT", messageId: "m", delta: "a" };
const RUN = { threadId: conversationId, runId: "run_1" };

test.each<[string, ConversationEvent]>([
  ["a message that is whole", { type: "TEXT_MESSAGE_END", messageId: "m" }],
  ["a run that begins", { type: "RUN_STARTED", ...RUN }],
  ["one that ends", { type: "RUN_FINISHED", ...RUN, outcome: { type: "success" } }],
  ["one that waits", { type: "RUN_FINISHED", ...RUN, outcome: { type: "interrupt", interrupts: [] } }],
  ["one that fails", { type: "RUN_ERROR", message: "m", code: "c" }],
  ["one that waits in line", custom("run.queued", { position: 1, expectedDelayMs: 0 })],
  ["one that goes on", custom("run.resumed", { interruptId: "i", decision: "approve", by: "visitor" })],
  ["who answers", custom("conversation.mode", { mode: "operator" })],
])("%s is a change, at the end of its batch", (_, event) => {
  expect(changeIn(DELTA, event, DELTA)).toEqual({ id: conversationId, lastSeq: 7 });
});

test.each<[string, ConversationEvent[]]>([
  ["nothing", []],
  ["tokens", [DELTA, DELTA]],
  ["a message that begins", [{ type: "TEXT_MESSAGE_START", messageId: "m", role: "assistant" }, DELTA]],
  [
    "a step and its calls",
    [
      { type: "STEP_STARTED", stepName: "step-1" },
      { type: "TOOL_CALL_END", toolCallId: "c" },
    ],
  ],
  ["how far a call is", [custom("tool.progress", { toolCallId: "c", text: "1/2" })]],
])("%s changes no list", (_, events) => {
  expect(changeIn(...events)).toBeNull();
});
