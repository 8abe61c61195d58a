/** What runs ask of their visitor, as the engine does it. */
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { FakeRun } from "@agent-engine/testing/fake-engine.ts";

/** Asks, and then says what was decided. */
export function asking(...questions: ((run: FakeRun) => Interrupt)[]) {
  return async (run: FakeRun): Promise<void> => {
    run.emit({ type: "RUN_STARTED", threadId: run.conversationId, runId: run.id });
    say(run, "I can do that.");
    const decided = await run.ask(...questions.map((question) => question(run)));
    const told = decided.map(({ decision, payload }) => `${decision} ${JSON.stringify(payload)}`).join(", ");
    say(run, `Decided: ${told}`);
    run.emit({
      type: "RUN_FINISHED",
      threadId: run.conversationId,
      runId: run.id,
      outcome: { type: "success" },
    });
  };
}

function say(run: FakeRun, delta: string): void {
  const messageId = run.newId("msg");
  run.emit(
    { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta },
    { type: "TEXT_MESSAGE_END", messageId },
  );
}

export const approval =
  (metadata: Record<string, unknown> = {}) =>
  (run: FakeRun): Interrupt => ({
    id: run.newId("int"),
    reason: "approval",
    message: "The assistant needs approval before it takes this action.",
    toolCallId: run.newId("call"),
    metadata: {
      kind: "approval",
      toolkit: "shop",
      tool: "shop_cancel_order",
      description: "Cancels an order that has not been sent yet. Use it only when the customer asks.",
      arguments: { orderNumber: "A-1042", refund: true, reason: "Ordered twice by mistake" },
      choices: ["approve", "decline"],
      ...metadata,
    },
  });

export const connection = (run: FakeRun): Interrupt => ({
  id: run.newId("int"),
  reason: "connection",
  message: "The assistant needs your account.",
  toolCallId: run.newId("call"),
  metadata: {
    kind: "connection",
    toolkit: "gmail",
    toolkitId: "toolkit_1",
    title: "Gmail",
    tool: "gmail_send",
    choices: ["decline"],
  },
});

export const form = (run: FakeRun): Interrupt => ({
  id: run.newId("int"),
  reason: "client_tool",
  message: "The assistant asks you to fill in a form.",
  toolCallId: run.newId("call"),
  metadata: {
    kind: "form",
    title: "Book a table",
    description: "We hold it for 15 minutes.",
    fields: [
      { name: "name", label: "Name", type: "text", required: true },
      { name: "email", label: "E-mail", type: "email", required: true },
      { name: "people", label: "How many are you?", type: "number", required: true },
      { name: "day", label: "Day", type: "date", required: false },
      { name: "room", label: "Where", type: "choice", required: false, options: ["Inside", "Outside"] },
      { name: "note", label: "Anything else?", type: "long_text", required: false },
    ],
    choices: ["result", "error"],
  },
});

/** To whichever page offered the tool last. */
export const pageCall =
  (tool: string, given: Record<string, unknown>, pageId: () => string) =>
  (run: FakeRun): Interrupt => ({
    id: run.newId("int"),
    reason: "client_tool",
    toolCallId: run.newId("call"),
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
    metadata: { kind: "client_tool", pageId: pageId(), tool, arguments: given, choices: ["result", "error"] },
  });
