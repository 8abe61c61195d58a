import { expect, test } from "vitest";
import type { ConversationChange } from "@agent-engine/protocol/realtime.ts";
import { MAX_BUFFERED_BYTES } from "./reader.ts";
import { tellOfChanges } from "./tenant-changes.ts";

function socket() {
  const sent: unknown[] = [];
  const drained: (() => void)[] = [];
  const one = { sent, drained, buffered: 0, publish: (_change: ConversationChange) => {}, left: 0 };
  const outlet = {
    send: (packet: string) => void sent.push(JSON.parse(packet.slice(1))),
    bufferedBytes: () => one.buffered,
    onceDrained: (callback: () => void) => void drained.push(callback),
  };
  const followTenant = (tenantId: string, onChange: (change: ConversationChange) => void) => {
    expect(tenantId).toBe("tenant_1");
    one.publish = onChange;
    return { inForce: Promise.resolve(), leave: () => void one.left++ };
  };
  return { one, stop: tellOfChanges({ followTenant }, "tenant_1", outlet) };
}

test("a change is told at once", () => {
  const { one, stop } = socket();
  one.publish({ id: "a", lastSeq: 1 });
  expect(one.sent).toEqual([["conversation.changed", { id: "a", lastSeq: 1 }]]);
  stop();
  expect(one.left).toBe(1);
});

test("a slow socket is told of each conversation's newest change, once it has drained", () => {
  const { one } = socket();
  one.buffered = MAX_BUFFERED_BYTES + 1;
  for (let lastSeq = 1; lastSeq <= 100; lastSeq++) one.publish({ id: lastSeq % 2 ? "a" : "b", lastSeq });
  expect(one.sent).toEqual([]);
  expect(one.drained).toHaveLength(1);
  one.buffered = 0;
  for (const release of one.drained) release();
  expect(one.sent).toEqual([
    ["conversation.changed", { id: "a", lastSeq: 99 }],
    ["conversation.changed", { id: "b", lastSeq: 100 }],
  ]);
});

test("a change that comes when it has drained, and before what is held was told, is not told before it", () => {
  const { one } = socket();
  one.buffered = MAX_BUFFERED_BYTES + 1;
  one.publish({ id: "a", lastSeq: 1 });
  one.buffered = 0;
  one.publish({ id: "a", lastSeq: 2 });
  const told = [["conversation.changed", { id: "a", lastSeq: 2 }]];
  expect(one.sent).toEqual(told);
  one.drained[0]?.();
  expect(one.sent).toEqual(told);
});

test("one that is slow again while it is told keeps the rest for later", () => {
  const { one } = socket();
  one.buffered = MAX_BUFFERED_BYTES + 1;
  one.publish({ id: "a", lastSeq: 1 });
  one.drained[0]?.();
  expect(one.sent).toEqual([]);
  expect(one.drained).toHaveLength(2);
  one.buffered = 0;
  one.drained[1]?.();
  expect(one.sent).toEqual([["conversation.changed", { id: "a", lastSeq: 1 }]]);
});
