import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversationLog } from "./arbitrary-log.ts";
import { forAudience, type StoredEnvelope } from "./envelope.ts";
import { custom, type ConversationEvent, type Interrupt } from "./events.ts";

function stored(event: ConversationEvent, audience: "all" | "staff" = "all"): StoredEnvelope {
  return { seq: 7, from: 5, conversationId: "conv_1", runId: "run_1", at: "t", correlationId: "c", audience, event };
}

describe("a visitor", () => {
  test("sees a staff event as hidden, in its place and for all it stands for", () => {
    const event: ConversationEvent = { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_1", delta: "secret" };
    const seen = forAudience(stored(event, "staff"), "all");
    expect(seen).toEqual({
      seq: 7,
      from: 5,
      conversationId: "conv_1",
      runId: "run_1",
      at: "t",
      correlationId: "c",
      event: custom("hidden", {}),
    });
    expect(JSON.stringify(seen)).not.toContain("secret");
  });

  test("learns that a run waits for an operator, and not what the operator sees", () => {
    const secret: Interrupt = {
      id: "int_1",
      reason: "operator",
      message: "Someone will look at this.",
      metadata: { provider: "openai", code: "secret" },
      responseSchema: { title: "secret" },
    };
    const approval: Interrupt = { id: "int_2", reason: "approval", metadata: { tool: "refund" }, toolCallId: "call_1" };
    const parked: ConversationEvent = {
      type: "RUN_FINISHED",
      threadId: "conv_1",
      runId: "run_1",
      outcome: { type: "interrupt", interrupts: [secret, approval] },
    };
    const seen = forAudience(stored(parked), "all");
    expect(seen.event).toEqual({
      ...parked,
      outcome: {
        type: "interrupt",
        interrupts: [{ id: "int_1", reason: "operator", message: "Someone will look at this." }, approval],
      },
    });
    expect(forAudience(stored(parked), "staff").event).toEqual(parked);
  });

  test("never sees which audience an event was for", () => {
    expect(forAudience(stored(custom("hidden", {})), "all")).not.toHaveProperty("audience");
    expect(forAudience(stored(custom("hidden", {})), "staff")).not.toHaveProperty("audience");
  });
});

test("any log: both readers get every seq, a visitor nothing of the staff's, staff everything as stored", () => {
  fc.assert(
    fc.property(conversationLog, (log) => {
      for (const envelope of log) {
        const { audience, ...whole } = envelope;
        expect(forAudience(envelope, "staff")).toEqual(whole);
        const seen = forAudience(envelope, "all");
        expect([seen.seq, seen.from, seen.runId, seen.at]).toEqual([whole.seq, whole.from, whole.runId, whole.at]);
        if (audience === "staff") expect(seen.event).toEqual(custom("hidden", {}));
        else if (seen.event.type === "RUN_FINISHED" && seen.event.outcome.type === "interrupt") {
          for (const { reason, metadata } of seen.event.outcome.interrupts) {
            expect(reason === "operator" && metadata !== undefined).toBe(false);
          }
        } else expect(seen.event).toEqual(whole.event);
      }
    }),
  );
});
