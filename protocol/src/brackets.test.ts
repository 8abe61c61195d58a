import { verifyEvents } from "@ag-ui/client";
import fc from "fast-check";
import { from, lastValueFrom, toArray } from "rxjs";
import { expect, test } from "vitest";
import { openRun } from "./arbitrary-log.ts";
import { closeBrackets, noBrackets, trackBrackets } from "./brackets.ts";
import { custom, METADATA_KEY, type ConversationEvent } from "./events.ts";

const RUN = { threadId: "conv_1", runId: "run_1" };
const started: ConversationEvent = { type: "RUN_STARTED", ...RUN };

const track = (events: readonly ConversationEvent[]) => events.reduce(trackBrackets, noBrackets);

/** A run's events as an AG-UI client gets them: facts written between two starts of a run follow the second one. */
function asAgUi(events: readonly ConversationEvent[]): ConversationEvent[] {
  const sent: ConversationEvent[] = [];
  const held: ConversationEvent[] = [];
  let isRunning = false;
  for (const event of events) {
    if (event.type === "CUSTOM" && !isRunning) {
      held.push(event);
      continue;
    }
    sent.push(event);
    if (event.type === "RUN_STARTED") {
      isRunning = true;
      sent.push(...held.splice(0));
    } else if (event.type === "RUN_FINISHED") isRunning = false;
  }
  return sent;
}

/** Rejects with the verifier's words when the sequence is not one an AG-UI client accepts. */
async function verify(events: readonly ConversationEvent[]): Promise<void> {
  await lastValueFrom(from(asAgUi(events) as never[]).pipe(verifyEvents(false), toArray()));
}

test("the verifier refuses a run that ends with something open", async () => {
  const step: ConversationEvent = { type: "STEP_STARTED", stepName: "step-0" };
  const end: ConversationEvent = { type: "RUN_FINISHED", ...RUN, outcome: { type: "cancelled" } };
  await expect(verify([started, step, end])).rejects.toThrow();
  await expect(verify([started, step, ...closeBrackets(track([started, step])), end])).resolves.toBeUndefined();
});

test("wherever a run is cut, closing its brackets and ending it is a sequence that AG-UI's verifier accepts", async () => {
  await fc.assert(
    fc.asyncProperty(
      openRun,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.constantFrom("cancelled" as const, "success" as const, "error" as const),
      fc.boolean(),
      async (events, place, end, mustAnswer) => {
        const prefix = events.slice(0, 1 + Math.floor(place * events.length));
        const isWaiting =
          prefix.findLast((event) => event.type === "RUN_STARTED" || event.type === "RUN_FINISHED")?.type ===
          "RUN_FINISHED";
        if (isWaiting) prefix.push(started);
        let ids = 0;
        const answer = { content: "stopped", newMessageId: () => `msg_${++ids}` };
        const closing = closeBrackets(track(prefix), mustAnswer ? { answer } : {});
        const last: ConversationEvent =
          end === "error"
            ? { type: "RUN_ERROR", message: "" }
            : { type: "RUN_FINISHED", ...RUN, outcome: { type: end } };
        await verify([...prefix, ...closing, last]);
        const left = track([...prefix, ...closing]);
        expect(left).toEqual({ ...noBrackets, unanswered: mustAnswer ? [] : left.unanswered });
        expect(closeBrackets(left)).toEqual([]);
      },
    ),
  );
});

test("closes from the inside out, and marks a text that was cut short", () => {
  const open = track([
    started,
    { type: "STEP_STARTED", stepName: "step-0" },
    { type: "TEXT_MESSAGE_START", messageId: "msg_1", role: "assistant" },
    { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "look_up" },
    { type: "TOOL_CALL_END", toolCallId: "call_1" },
    { type: "TOOL_CALL_START", toolCallId: "call_2", toolCallName: "look_up" },
    { type: "REASONING_START", messageId: "msg_2" },
    { type: "REASONING_MESSAGE_START", messageId: "msg_2", role: "reasoning" },
  ]);
  let ids = 0;
  const answer = { content: "stopped", newMessageId: () => `msg_new_${++ids}` };
  expect(closeBrackets(open, { answer })).toEqual([
    { type: "REASONING_MESSAGE_END", messageId: "msg_2" },
    { type: "REASONING_END", messageId: "msg_2" },
    { type: "TEXT_MESSAGE_END", messageId: "msg_1", metadata: { [METADATA_KEY]: { incomplete: true } } },
    { type: "TOOL_CALL_END", toolCallId: "call_2" },
    { type: "TOOL_CALL_RESULT", messageId: "msg_new_1", toolCallId: "call_1", content: "stopped", role: "tool" },
    { type: "TOOL_CALL_RESULT", messageId: "msg_new_2", toolCallId: "call_2", content: "stopped", role: "tool" },
    { type: "STEP_FINISHED", stepName: "step-0" },
  ]);
});

test("a visitor's message is no bracket of the run", () => {
  const asked: ConversationEvent[] = [
    { type: "TEXT_MESSAGE_START", messageId: "msg_q", role: "user" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_q", delta: "?" },
  ];
  expect(track(asked)).toEqual(noBrackets);
});

test("a superseded call wants no answer any more", () => {
  const open = track([
    started,
    { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "look_up" },
    { type: "TOOL_CALL_END", toolCallId: "call_1" },
    { type: "TOOL_CALL_START", toolCallId: "call_2", toolCallName: "look_up" },
    { type: "TOOL_CALL_END", toolCallId: "call_2" },
    custom("run.superseded", { messageIds: [], toolCallIds: ["call_1"] }),
  ]);
  expect(open.unanswered).toEqual(["call_2"]);
});
