import { describe, expect, test, vi } from "vitest";
import { createMemoryBus } from "@agent-engine/core/events/memory-bus.ts";
import { CONVERSATION, delta, FakeSink, finished, HubFixture, reasoning, TENANT, turn } from "./hub-fixture.ts";
import { createHub } from "./hub.ts";
import { MAX_BUFFERED_BYTES, PAGE_SIZE } from "./reader.ts";

const seqs = (sink: FakeSink) => sink.received.map(({ from, seq }) => (from === undefined ? seq : `${from}-${seq}`));

const READER = {
  tenantId: TENANT,
  conversationId: CONVERSATION,
  after: 0,
  audience: "all",
  runId: null,
  runEnded: false,
} as const;

async function liveReader(fixture: HubFixture, options: Parameters<HubFixture["open"]>[0] = {}): Promise<FakeSink> {
  const sink = await fixture.open(options);
  await fixture.settle();
  return sink;
}

describe("backfill and cut-over", () => {
  test("a reader at cursor 3 receives 4 onward, once each", async () => {
    const fixture = new HubFixture();
    fixture.append(...Array.from({ length: 6 }, (_, index) => delta(`${index}`, `msg_${index}`)));
    const sink = await liveReader(fixture, { after: 3 });
    expect(seqs(sink)).toEqual([4, 5, 6]);
    fixture.publish(fixture.append(delta("x", "msg_x")));
    fixture.flush();
    expect(seqs(sink)).toEqual([4, 5, 6, 7]);
  });

  test("the log is read only once the subscription is in force", async () => {
    const fixture = new HubFixture();
    const opening = fixture.open();
    expect(fixture.readsStarted).toBe(0);
    await opening;
    expect(fixture.subscribed).toBe(1);
    expect(fixture.readsStarted).toBe(1);
  });

  test("what is published during the backfill is applied without reading again", async () => {
    const fixture = new HubFixture();
    fixture.append(delta("a", "msg_a"));
    const sink = await fixture.open();
    fixture.publish(fixture.append(delta("b", "msg_b")));
    fixture.flush();
    await fixture.answerRead(0);
    expect(seqs(sink)).toEqual([1, 2]);
    expect(fixture.readsStarted).toBe(1);
    expect(sink.reader?.state).toBe("live");
  });

  test("a backlog longer than a page comes page by page", async () => {
    const fixture = new HubFixture();
    fixture.append(...Array.from({ length: PAGE_SIZE + 10 }, (_, index) => delta(".", `msg_${index}`)));
    const sink = await liveReader(fixture);
    expect(sink.received).toHaveLength(PAGE_SIZE + 10);
    expect(fixture.readsStarted).toBe(2);
  });

  test("readers at one cursor share one read", async () => {
    const fixture = new HubFixture();
    fixture.append(delta("a"));
    const sinks = await Promise.all([fixture.open(), fixture.open(), fixture.open({ audience: "all" })]);
    await fixture.settle();
    expect(fixture.readsStarted).toBe(1);
    for (const sink of sinks) expect(seqs(sink)).toEqual([1]);
  });
});

describe("live", () => {
  test("a gap is filled from the log at once, not at the next repair", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture);
    fixture.append(delta("lost", "msg_a"));
    fixture.publish(fixture.append(delta("seen", "msg_b")));
    await fixture.settle();
    expect(seqs(sink)).toEqual([1, 2]);
  });

  test("batches that overtake each other within a turn are put in order without reading", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture);
    const first = fixture.append(delta("a", "msg_a"));
    fixture.publish(fixture.append(delta("b", "msg_b")));
    fixture.publish(first);
    fixture.flush();
    expect(seqs(sink)).toEqual([1, 2]);
    expect(fixture.readsStarted).toBe(1);
  });

  test("what arrives within a turn is one push, adjacent deltas merged", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture);
    const before = sink.pushes;
    for (const text of ["a", "b", "c"]) fixture.publish(fixture.append(delta(text)));
    fixture.flush();
    expect(sink.pushes).toBe(before + 1);
    expect(sink.received).toMatchObject([{ from: 1, seq: 3, event: { delta: "abc" } }]);
  });

  test("a visitor sees what is for staff as hidden, at its seq", async () => {
    const fixture = new HubFixture();
    const visitor = await liveReader(fixture, { audience: "all" });
    const staff = await liveReader(fixture);
    fixture.publish(fixture.append(reasoning("secret"), delta("hello")));
    fixture.flush();
    expect(visitor.received.map(({ event }) => event)).toEqual([
      { type: "CUSTOM", name: "hidden", value: {} },
      { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: "hello" },
    ]);
    expect(JSON.stringify(visitor.received)).not.toContain("secret");
    expect(JSON.stringify(staff.received)).toContain("secret");
  });

  test("readers of one audience share one frame", async () => {
    const fixture = new HubFixture();
    const frames: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const sink = new FakeSink();
      sink.push = (frame) => void frames.push(frame);
      await fixture.open({}, sink);
    }
    await fixture.settle();
    fixture.publish(fixture.append(delta("a")));
    fixture.flush();
    expect(frames).toHaveLength(3);
    expect(new Set(frames).size).toBe(1);
  });
});

describe("repair", () => {
  test("a batch lost without trace is found by comparing heads", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture);
    fixture.append(delta("lost"));
    await fixture.settle();
    expect(seqs(sink)).toEqual([]);
    await fixture.hub.repair();
    await fixture.settle();
    expect(seqs(sink)).toEqual([1]);
  });

  test("a reconnect of the bus repairs at once", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture);
    fixture.append(delta("lost"));
    fixture.reconnect();
    await fixture.settle();
    expect(seqs(sink)).toEqual([1]);
  });

  test("heads are compared every 2 s, and not at all when nobody reads", async () => {
    vi.useFakeTimers();
    try {
      const readHeads = vi.fn(async () => new Map<string, number>());
      const hub = createHub({
        bus: createMemoryBus(),
        readLog: async () => ({ events: [], isLast: true }),
        readHeads,
        onError: () => {},
      });
      await vi.advanceTimersByTimeAsync(4_000);
      expect(readHeads).not.toHaveBeenCalled();
      await hub.open(READER, new FakeSink());
      await vi.advanceTimersByTimeAsync(4_000);
      expect(readHeads.mock.calls).toEqual([[[CONVERSATION]], [[CONVERSATION]]]);
      hub.close();
      await vi.advanceTimersByTimeAsync(4_000);
      expect(readHeads).toHaveBeenCalledTimes(2);
    } finally {
      vi.useRealTimers();
    }
  });

  test("a log that does not answer delays its readers until the next repair", async () => {
    const fixture = new HubFixture();
    fixture.append(delta("a"));
    const sink = await fixture.open();
    await fixture.answerRead(0, true);
    expect(fixture.errors).toHaveLength(1);
    expect(seqs(sink)).toEqual([]);
    await fixture.hub.repair();
    await fixture.settle();
    expect(seqs(sink)).toEqual([1]);
  });
});

describe("a slow reader", () => {
  test("gets no pushes and costs no reads past its bound, then catches up from the log", async () => {
    const fixture = new HubFixture();
    const slow = await liveReader(fixture);
    const quick = await liveReader(fixture);
    slow.pause();
    for (let i = 0; i < 50; i++) {
      fixture.publish(fixture.append(delta(`${i}`, `msg_${i}`)));
      fixture.flush();
    }
    const reads = fixture.readsStarted;
    await fixture.hub.repair();
    expect(quick.received).toHaveLength(50);
    expect(slow.bufferedBytes()).toBeLessThan(MAX_BUFFERED_BYTES + 100_001);
    expect(slow.received).toHaveLength(3);
    expect(slow.reader?.state).toBe("blocked");
    expect(fixture.hub.size.heldBack).toBe(1);
    expect(fixture.readsStarted).toBe(reads);
    slow.resume();
    await fixture.settle();
    expect(seqs(slow)).toEqual(seqs(quick));
  });

  test("that is already behind when it joins is bounded too", async () => {
    const fixture = new HubFixture();
    fixture.append(...Array.from({ length: PAGE_SIZE * 6 }, (_, index) => delta(".", `msg_${index}`)));
    const sink = new FakeSink();
    sink.pause();
    await fixture.open({}, sink);
    await fixture.settle();
    expect(sink.pushes).toBe(3);
    sink.resume();
    await fixture.settle();
    expect(sink.received).toHaveLength(PAGE_SIZE * 6);
  });
});

describe("a page that large events made short", () => {
  test("is not taken for the log's end", async () => {
    const fixture = new HubFixture();
    fixture.rowsPerPage = 2;
    fixture.append(...Array.from({ length: 5 }, (_, index) => delta("large", `msg_${index}`)));
    const sink = await liveReader(fixture);
    expect(seqs(sink)).toEqual([1, 2, 3, 4, 5]);
    expect(sink.reader?.state).toBe("live");
  });

  test("hides nothing from a reader of one run", async () => {
    const fixture = new HubFixture();
    fixture.rowsPerPage = 1;
    fixture.append(
      delta("other", "msg_a", "run_other"),
      delta("mine", "msg_b", "run_mine"),
      delta("mine", "msg_c", "run_mine"),
    );
    const sink = await liveReader(fixture, { runId: "run_mine" });
    expect(seqs(sink)).toEqual([2, 3]);
  });
});

describe("a reader of one run", () => {
  test("gets only its events and ends after the terminal one", async () => {
    const fixture = new HubFixture();
    fixture.append(delta("other", "msg_a", "run_other"), delta("mine", "msg_b", "run_mine"));
    const sink = await liveReader(fixture, { runId: "run_mine" });
    expect(seqs(sink)).toEqual([2]);
    fixture.publish(fixture.append(delta("other", "msg_a", "run_other"), finished("run_other"), finished("run_mine")));
    fixture.flush();
    expect(seqs(sink)).toEqual([2, 5]);
    expect(sink.ended).toBe("finished");
    await turn();
    expect(fixture.subscribed).toBe(0);
  });

  test("ends at once when the run had ended and everything was read", async () => {
    const fixture = new HubFixture();
    fixture.append(delta("mine", "msg_b", "run_mine"), finished("run_mine"));
    const whole = await liveReader(fixture, { runId: "run_mine", runEnded: true });
    expect(seqs(whole)).toEqual([1, 2]);
    expect(whole.ended).toBe("finished");
    const rest = await liveReader(fixture, { runId: "run_mine", runEnded: true, after: 2 });
    expect(seqs(rest)).toEqual([]);
    expect(rest.ended).toBe("finished");
  });

  test("is not ended by an interrupt", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture, { runId: "run_mine" });
    const outcome = { type: "interrupt" as const, interrupts: [] };
    fixture.publish(
      fixture.append({
        ...finished("run_mine"),
        event: { type: "RUN_FINISHED", threadId: CONVERSATION, runId: "run_mine", outcome },
      }),
    );
    fixture.flush();
    expect(seqs(sink)).toEqual([1]);
    expect(sink.ended).toBeNull();
  });
});

describe("opening and closing", () => {
  test("the last reader to leave ends the subscription", async () => {
    const fixture = new HubFixture();
    const [one, other] = [await liveReader(fixture), await liveReader(fixture)];
    expect(fixture.subscribed).toBe(1);
    expect(fixture.hub.size).toEqual({ conversations: 1, readers: 2, heldBack: 0 });
    one.reader?.close();
    await turn();
    expect(fixture.subscribed).toBe(1);
    other.reader?.close();
    await turn();
    expect(fixture.subscribed).toBe(0);
    expect(fixture.hub.size).toEqual({ conversations: 0, readers: 0, heldBack: 0 });
  });

  test("a bus that does not answer delays a reader by a second; what it misses is found when the bus does", async () => {
    vi.useFakeTimers();
    try {
      const bus = createMemoryBus();
      const inForce = Promise.withResolvers<void>();
      const leave = vi.fn();
      bus.subscribe = () => ({ inForce: inForce.promise, leave });
      const readHeads = vi.fn(async () => new Map<string, number>());
      const readLog = vi.fn(async () => ({ events: [], isLast: true }));
      const hub = createHub({ bus, readLog, readHeads, onError: () => {} });
      const opening = hub.open(READER, new FakeSink());
      await vi.advanceTimersByTimeAsync(999);
      expect(readLog).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(1);
      const reader = await opening;
      expect(readLog).toHaveBeenCalledOnce();
      expect(readHeads).not.toHaveBeenCalled();
      inForce.resolve();
      await vi.advanceTimersByTimeAsync(0);
      expect(readHeads).toHaveBeenCalledOnce();
      reader.close();
      expect(leave).toHaveBeenCalledOnce();
      hub.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test("while the bus is away readers open at once, and heads are compared twice a second", async () => {
    vi.useFakeTimers();
    try {
      const bus = createMemoryBus();
      bus.subscribe = () => ({ inForce: new Promise(() => {}), leave: () => {} });
      bus.isHealthy = () => false;
      const readHeads = vi.fn(async () => new Map<string, number>());
      const hub = createHub({ bus, readLog: async () => ({ events: [], isLast: true }), readHeads, onError: () => {} });
      await hub.open(READER, new FakeSink());
      await vi.advanceTimersByTimeAsync(2_000);
      expect(readHeads).toHaveBeenCalledTimes(4);
      bus.isHealthy = () => true;
      await vi.advanceTimersByTimeAsync(4_000);
      expect(readHeads).toHaveBeenCalledTimes(6);
      hub.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test("closing the hub tells every reader", async () => {
    const fixture = new HubFixture();
    const sink = await liveReader(fixture);
    fixture.hub.close();
    expect(sink.ended).toBe("closing");
    await expect(fixture.open()).rejects.toThrow(/closed/);
  });
});
