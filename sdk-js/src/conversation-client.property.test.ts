import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { mergeAdjacent } from "@agent-engine/protocol/merge.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createConversationClient } from "./conversation-client.ts";
import { memoryKeyValue } from "./key-value.ts";
import type { RealtimeSocket } from "./socket.ts";

const conversationId = "conv_1";

/** A log of whole answers: a question, a run, an answer in some deltas. */
const logArbitrary = fc
  .array(fc.record({ text: fc.string(), deltas: fc.array(fc.string(), { maxLength: 6 }) }), {
    minLength: 1,
    maxLength: 4,
  })
  .map((turns): Envelope[] =>
    turns
      .flatMap(({ text, deltas }, turn): { runId: string; event: ConversationEvent }[] => {
        const runId = `run_${turn}`;
        const answer = { messageId: `msg_a${turn}` };
        const question = { messageId: `msg_q${turn}` };
        const events: ConversationEvent[] = [
          { type: "TEXT_MESSAGE_START", ...question, role: "user" },
          { type: "TEXT_MESSAGE_CONTENT", ...question, delta: text },
          { type: "TEXT_MESSAGE_END", ...question },
          { type: "RUN_STARTED", threadId: conversationId, runId },
          { type: "TEXT_MESSAGE_START", ...answer, role: "assistant" },
          ...deltas.map((delta): ConversationEvent => ({ type: "TEXT_MESSAGE_CONTENT", ...answer, delta })),
          { type: "TEXT_MESSAGE_END", ...answer },
          { type: "RUN_FINISHED", threadId: conversationId, runId, outcome: { type: "success" } },
        ];
        return events.map((event) => ({ runId, event }));
      })
      .map(({ runId, event }, index) => ({
        seq: index + 1,
        conversationId,
        runId,
        at: "t",
        correlationId: "c",
        event,
      })),
  );

/** What a wire does to the pushes of a log: cuts it anywhere, merges, repeats, drops and reorders. */
const deliveriesOf = (log: Envelope[]) =>
  fc.array(
    fc.record({ from: fc.nat(log.length), length: fc.nat(6), merged: fc.boolean() }).map(({ from, length, merged }) => {
      const slice = log.slice(from, from + length);
      return merged ? mergeAdjacent(slice) : slice;
    }),
    { maxLength: 20 },
  );

function clientOver(log: Envelope[]) {
  const sockets: Record<string, (payload?: unknown) => void>[] = [];
  let pages = 0;
  const client = createConversationClient({
    baseUrl: "http://engine",
    credentials: { token: async () => "t", renew: async () => "t" },
    storage: { ...memoryKeyValue(), get: (key) => (key === "conversation" ? conversationId : null) },
    random: () => 0,
    loadSocket: async () => (): RealtimeSocket => {
      const listeners: (typeof sockets)[number] = {};
      sockets.push(listeners);
      return {
        on: (event, listener) => (listeners[event] = listener as (payload?: unknown) => void),
        // Acknowledges and pushes nothing: the test pushes.
        emit: (_event, _topic, ack: (answer: unknown) => void) => ack({ ok: true, lastSeq: log.length }),
        disconnect() {},
      };
    },
    fetch: async (url) => {
      const query = new URL(url).searchParams;
      const after = Number(query.get("after"));
      // Pages of changing length, so that page borders fall anywhere.
      const items = mergeAdjacent(log.slice(after, after + 1 + (pages++ % 7)));
      const last = items.at(-1)?.seq ?? after;
      return Response.json({ items, nextCursor: last < log.length ? String(last) : null });
    },
  });
  return { client, push: (events: Envelope[]) => sockets.at(-1)?.["events"]?.({ conversationId, events }), sockets };
}

it("ends in the straight fold whatever pushes are lost, doubled, merged or out of order", async () => {
  const cases = logArbitrary.chain((log) => fc.tuple(fc.constant(log), deliveriesOf(log), fc.nat(log.length)));
  await fc.assert(
    fc.asyncProperty(cases, async ([log, deliveries, startsAt]) => {
      const { client, push, sockets } = clientOver(log);
      const seen: number[] = [];
      client.subscribe(() => seen.push(client.getState().conversation.lastSeq));
      for (const [index, delivery] of deliveries.entries()) {
        if (index === startsAt || index === 0) void client.start();
        await Promise.resolve();
        sockets.at(-1)?.["connect"]?.();
        push(delivery);
        if (index % 3 === 0) await Promise.resolve();
      }
      // The wire is whole again: what is still missing is asked for.
      await client.start();
      expect(client.getState().conversation).toEqual(reduce(initialState, log));
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
      client.close();
    }),
    { numRuns: 300 },
  );
});
