import { expect, test } from "vitest";
import { deliver } from "./deliver.ts";
import { assertDelivery } from "./delivery-property.ts";
import type { Envelope } from "./envelope.ts";
import type { ConversationEvent } from "./events.ts";
import { initialState } from "./state.ts";

const delta = (seq: number, from?: number): Envelope => ({
  seq,
  ...(from === undefined ? {} : { from }),
  conversationId: "conv_1",
  runId: null,
  at: "",
  correlationId: "",
  event: { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: String(seq) },
});

test("what follows the cursor is applied, what is known is dropped", () => {
  const first = deliver(initialState, [delta(1), delta(2)]);
  expect(first).toMatchObject({ gap: false, state: { lastSeq: 2 } });
  expect(deliver(first.state, [delta(1), delta(2)])).toEqual({ gap: false, state: first.state });
  expect(deliver(first.state, [delta(2), delta(3)])).toMatchObject({ gap: false, state: { lastSeq: 3 } });
});

test("a hole is reported, and nothing behind it is applied", () => {
  expect(deliver(initialState, [delta(1), delta(3), delta(4)])).toMatchObject({ gap: true, state: { lastSeq: 1 } });
});

test("what comes late in the same delivery still closes the hole up to itself", () => {
  expect(deliver(initialState, [delta(2), delta(1)])).toMatchObject({ gap: true, state: { lastSeq: 1 } });
});

test("an envelope that overlaps the cursor is never applied in part", () => {
  const { state } = deliver(initialState, [delta(1), delta(2)]);
  expect(deliver(state, [delta(4, 2)])).toMatchObject({ gap: true, state: { lastSeq: 2 } });
  expect(deliver(state, [delta(4, 3)])).toMatchObject({ gap: false, state: { lastSeq: 4 } });
});

test("any shuffling, repetition, loss and merging of deliveries, with refetch, ends in the state of the straight fold", () => {
  assertDelivery(300);
});

test("unknown events move the cursor like any other", () => {
  const unknown = { ...delta(1), event: { type: "FROM_THE_FUTURE" } as unknown as ConversationEvent };
  expect(deliver(initialState, [unknown, delta(2)])).toMatchObject({ gap: false, state: { lastSeq: 2, messages: [] } });
});
