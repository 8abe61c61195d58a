import { initialState, type MessageState } from "@agent-engine/protocol/state.ts";
import { expect, it } from "vitest";
import { unsettled, type OutgoingMessage } from "./outbox.ts";

const stored = (id: string, seq: number, text: string): MessageState => ({
  id,
  seq,
  runId: null,
  stepName: null,
  role: "user",
  name: null,
  text,
  status: "complete",
  citations: [],
  at: "",
});
const outgoing = (clientMessageId: string, text: string, after: number, messageId?: string): OutgoingMessage => ({
  clientMessageId,
  text,
  after,
  messageId,
});
const shown = (outbox: OutgoingMessage[], ...messages: MessageState[]) =>
  unsettled(outbox, { ...initialState, messages }).map(({ clientMessageId }) => clientMessageId);

it("shows a message until the log does, by its id once that is known", () => {
  expect(shown([outgoing("a", "hi", 0, "msg_1")])).toEqual(["a"]);
  expect(shown([outgoing("a", "hi", 0, "msg_1")], stored("msg_2", 1, "hi"))).toEqual(["a"]);
  expect(shown([outgoing("a", "hi", 0, "msg_1")], stored("msg_1", 1, "hi"))).toEqual([]);
});

it("recognises an event that overtook the answer by its text, but never an older one", () => {
  expect(shown([outgoing("a", "hi", 5)], stored("msg_1", 4, "hi"))).toEqual(["a"]);
  expect(shown([outgoing("a", "hi", 5)], stored("msg_1", 6, "hi"))).toEqual([]);
});

it("lets one entry of the log stand for one of two equal messages", () => {
  expect(shown([outgoing("a", "hi", 0), outgoing("b", "hi", 0)], stored("msg_1", 1, "hi"))).toEqual(["b"]);
});
