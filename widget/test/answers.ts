/** Ways in which the engine in memory answers. */
import { custom } from "@agent-engine/protocol/events.ts";
import type { FakeRun } from "@agent-engine/testing/fake-engine.ts";

const start = (run: FakeRun) => {
  const messageId = run.newId("msg");
  run.emit(
    { type: "RUN_STARTED", threadId: run.conversationId, runId: run.id },
    { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
  );
  return messageId;
};

const end = (run: FakeRun, messageId: string) =>
  run.emit(
    { type: "TEXT_MESSAGE_END", messageId },
    { type: "RUN_FINISHED", threadId: run.conversationId, runId: run.id, outcome: { type: "success" } },
  );

const write = (run: FakeRun, messageId: string, delta: string) =>
  run.emit({ type: "TEXT_MESSAGE_CONTENT", messageId, delta });

/** Writes the text word by word, one every few milliseconds. */
export function streaming(text: string, wordMs = 2) {
  return async (run: FakeRun): Promise<void> => {
    const messageId = start(run);
    for (const [word] of text.matchAll(/\S+\s*/g)) {
      write(run, messageId, word);
      await new Promise((resolve) => setTimeout(resolve, wordMs));
    }
    end(run, messageId);
  };
}

/** Answers in two parts; the second comes when the test says so. */
export function inTwoParts(first: string, second: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    goOn: resolve,
    play: async (run: FakeRun): Promise<void> => {
      const messageId = start(run);
      write(run, messageId, first);
      await promise;
      write(run, messageId, second);
      end(run, messageId);
    },
  };
}

export function citing(run: FakeRun): void {
  const messageId = start(run);
  write(run, messageId, "We open at ten [2], and deliver in a day [5].");
  const source = { messageId, url: "https://shop.example/hours" };
  run.emit(
    custom("citation", {
      ...source,
      number: 2,
      documentId: "doc_a",
      title: "Opening hours",
      quote: "Open from 10:00 to 18:00.",
    }),
    custom("citation", {
      ...source,
      number: 5,
      documentId: "doc_b",
      title: "Delivery",
      quote: "One working day.",
      url: "javascript:alert(1)",
    }),
  );
  end(run, messageId);
}

export function failing(run: FakeRun): void {
  run.emit(
    { type: "RUN_STARTED", threadId: run.conversationId, runId: run.id },
    { type: "RUN_ERROR", message: "The assistant could not finish this answer.", code: "provider" },
  );
}
