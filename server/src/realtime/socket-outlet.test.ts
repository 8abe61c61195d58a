import { Encoder, PacketType } from "socket.io-parser";
import { describe, expect, test } from "vitest";
import { Frame } from "./frame.ts";
import { MAX_BUFFERED_BYTES } from "./reader.ts";
import { encodePush, SocketOutlet, SubscriptionSink } from "./socket-outlet.ts";

const frameOf = (delta: string, runId: string | null = null) =>
  new Frame("conv_1", runId, [
    {
      seq: 1,
      conversationId: "conv_1",
      runId,
      at: "2026-11-22T00:00:00.000Z",
      correlationId: "req_1",
      event: { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta },
    },
  ]);

class FakeConnection {
  transport = { writable: false };
  sent: string[] = [];
  #callbacks: (() => void)[] = [];

  write(packet: string, _options: { compress: boolean }, onSent: () => void): void {
    this.sent.push(packet);
    this.#callbacks.push(onSent);
  }

  take(count: number): void {
    for (const callback of this.#callbacks.splice(0, count)) callback();
  }
}

test.each([[null], ["run_1"]])("a push is encoded as Socket.IO itself would (run %s)", (runId) => {
  const frame = frameOf("héllo \u2028 😀", runId);
  const push = { conversationId: "conv_1", ...(runId === null ? {} : { runId }), events: frame.events };
  const [expected] = new Encoder().encode({ type: PacketType.EVENT, nsp: "/", data: ["events", push] });
  expect(encodePush(frame)).toBe(expected);
});

test("a frame is encoded once for all its readers", () => {
  const frame = frameOf("a");
  let times = 0;
  const encode = () => ++times;
  expect([frame.as(encode), frame.as(encode)]).toEqual([1, 1]);
});

describe("an outlet", () => {
  test("counts what the network has not taken, and says when it has room again", () => {
    const connection = new FakeConnection();
    const outlet = new SocketOutlet(connection);
    let drained = 0;
    outlet.onceDrained(() => drained++);
    for (let i = 0; i < 3; i++) outlet.send("x".repeat(MAX_BUFFERED_BYTES / 2));
    expect(outlet.bufferedBytes()).toBe(MAX_BUFFERED_BYTES * 1.5);
    connection.take(1);
    expect(drained).toBe(0);
    connection.take(1);
    expect(drained).toBe(1);
    connection.take(1);
    expect([outlet.bufferedBytes(), drained]).toEqual([0, 1]);
  });

  test("trusts an idle transport over a callback that never came", () => {
    const connection = new FakeConnection();
    const outlet = new SocketOutlet(connection);
    outlet.send("x".repeat(1_000));
    connection.transport.writable = true;
    expect(outlet.bufferedBytes()).toBe(0);
  });
});

test("a subscription's pushes wait for its acknowledgement", () => {
  const connection = new FakeConnection();
  const sink = new SubscriptionSink(new SocketOutlet(connection), () => {});
  sink.push(frameOf("a"));
  expect(connection.sent).toEqual([]);
  sink.release();
  sink.push(frameOf("b"));
  expect(connection.sent).toEqual([encodePush(frameOf("a")), encodePush(frameOf("b"))]);
});
