import { describe, expect, it } from "vitest";
import { answered, answering, asked, clientState, finished, started } from "./panel-state.fixture.ts";
import { timelineOf } from "./timeline.ts";

const question = asked("When do you open?");
const listOf = (...args: Parameters<typeof clientState>) =>
  timelineOf(clientState(...args)).map((item) => {
    switch (item.kind) {
      case "message":
        return `${item.message.role}: ${item.message.text}`;
      case "outgoing":
        return `outgoing: ${item.outgoing.text}`;
      case "notice":
        return `${item.tone}: ${item.text}${item.retryText ? ` [${item.retryText}]` : ""}`;
      case "card":
        return `card: ${item.key}`;
    }
  });

describe("the timeline", () => {
  it("lists messages in order, and what is on its way after them", () => {
    const outbox = [{ clientMessageId: "c", text: "And on Sunday?", after: 9 }];
    expect(listOf([...question, started, ...answering("At ten."), answered], { outbox })).toEqual([
      "user: When do you open?",
      "assistant: At ten.",
      "outgoing: And on Sunday?",
    ]);
  });

  it("leaves out an answer that says nothing yet", () => {
    expect(listOf([...question, started, ...answering("")])).toEqual(["user: When do you open?"]);
  });

  it("says why a run failed, and offers the question again while it is the last", () => {
    const failed = [
      ...question,
      started,
      { type: "RUN_ERROR" as const, message: "It did not work.", code: "provider" },
    ];
    expect(listOf(failed)).toEqual(["user: When do you open?", "problem: It did not work. [When do you open?]"]);
  });

  it("says that an answer was stopped, or reached its limit", () => {
    const begun = [...question, started, ...answering("At t"), answered];
    expect(listOf([...begun, finished({ type: "cancelled" })]).at(-1)).toBe("quiet: Stopped");
    expect(listOf([...question, started, finished({ type: "cancelled" })]).at(-1)).toBe(
      "quiet: This message was not answered.",
    );
    expect(listOf([...begun, finished({ type: "success" }, "limit")]).at(-1)).toMatch(/limit/);
    expect(listOf([...begun, finished({ type: "success" })]).at(-1)).toBe("assistant: At t");
  });
});
