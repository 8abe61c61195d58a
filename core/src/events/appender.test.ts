import { pino } from "pino";
import type { QueryResultRow } from "pg";
import { describe, expect, test } from "vitest";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { Database } from "../db/database.ts";
import type { Statement } from "../db/statement.ts";
import type { Slot } from "./append.ts";
import { createAppender, type AppendSource } from "./appender.ts";
import type { PublishedBatch } from "./bus.ts";
import { RunLog } from "./run-log.ts";

interface Call {
  statement: string;
  values: unknown[];
  answer(rows: QueryResultRow[]): void;
  fail(error: Error): void;
}

/** Postgres in the test's hands: every statement waits until it is answered. */
class HandDatabase {
  readonly calls: Call[] = [];
  #waiting: (() => void)[] = [];

  readonly query: Database["query"] = <Row extends QueryResultRow>({ name }: Statement<Row>, values: unknown[]) =>
    new Promise<Row[]>((resolve, reject) => {
      this.calls.push({ statement: name, values, answer: (rows) => resolve(rows as Row[]), fail: reject });
      for (const wake of this.#waiting.splice(0)) wake();
    });

  /** The statement that was sent next, in the order of sending. */
  async next(): Promise<Call> {
    while (this.calls.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const call = this.calls.shift();
    if (!call) throw new Error("no call");
    return call;
  }
}

/** The conversations of an append, by the last digit of their ids. */
const conversationsOf = (call: Call) => (call.values[0] as string[]).map((uuid) => Number(uuid.at(-1)));

function answers(call: Call, ...outcomes: ("ok" | "fenced" | "locked")[]): void {
  call.answer(outcomes.map((outcome, index) => ({ slot: index + 1, outcome, base: "0", at: new Date(0) })));
}

const error = (message: string, code?: string) => Object.assign(new Error(message), code ? { code } : {});
const cut = () => error("Connection terminated unexpectedly");

class Source implements AppendSource {
  readonly conversationId: string;
  pending = 1;
  position = 0;
  readonly settled: { kind: string; isPublished: boolean }[] = [];

  constructor(n: number) {
    this.conversationId = `conv_0000000000000000000000000000000${n}`;
  }

  take(): Slot | null {
    if (this.pending === 0) return null;
    const event = { type: "STEP_STARTED" as const, stepName: "a" };
    const one = { event, audience: "all" as const, runId: null, correlationId: "c" };
    const events = Array.from({ length: this.pending }, () => one);
    this.pending = 0;
    return {
      conversationId: this.conversationId,
      tenantId: "tenant_00000000000000000000000000000001",
      fence: { runId: "run_00000000000000000000000000000001", epoch: 1, position: this.position },
      events,
    };
  }

  settle(slot: Slot, result: { kind: string; envelopes?: StoredEnvelope[] | null }): void {
    this.position += slot.events.length;
    this.settled.push({ kind: result.kind, isPublished: Boolean(result.envelopes) });
  }
}

function open() {
  const db = new HandDatabase();
  const published: PublishedBatch[] = [];
  const bus = { publish: (batch: PublishedBatch) => void published.push(batch) };
  const appender = createAppender({ db, bus, log: pino({ level: "silent" }) });
  return { db, published, appender };
}

describe("batches", () => {
  test("what gathers while a statement is under way leaves together with the next", async () => {
    const { db, appender } = open();
    const sources = [0, 2, 4, 6].map((n) => new Source(n));
    const [first, ...others] = sources;
    if (!first) throw new Error("no source");
    appender.request(first);
    const call = await db.next();
    for (const source of others) appender.request(source);
    await new Promise((resolve) => setImmediate(resolve));
    expect(db.calls).toEqual([]);
    answers(call, "ok");
    const second = await db.next();
    expect(conversationsOf(second)).toEqual([2, 4, 6]);
    answers(second, "ok", "ok", "ok");
    await appender.idle();
    expect(sources.map(({ settled }) => settled)).toEqual(sources.map(() => [{ kind: "stored", isPublished: true }]));
  });

  test("what comes while a flush is under way travels with the next one", async () => {
    const { db, appender } = open();
    const [early, late] = [new Source(0), new Source(1)];
    appender.request(early);
    const first = await db.next();
    early.pending = 1;
    appender.request(early);
    appender.request(late);
    expect(db.calls).toEqual([]);
    answers(first, "ok");
    const second = await db.next();
    expect(conversationsOf(second)).toEqual([0, 1]);
    expect(second.values[4]).toEqual([1, 0]);
  });

  test("nothing is published before it is stored, and nothing of a fenced slot at all", async () => {
    const { db, published, appender } = open();
    const [live, zombie] = [new Source(0), new Source(2)];
    appender.request(live);
    appender.request(zombie);
    const call = await db.next();
    expect(published).toEqual([]);
    answers(call, "ok", "fenced");
    await appender.idle();
    expect(published.map(({ conversationId }) => conversationId)).toEqual([live.conversationId]);
    expect(zombie.settled).toEqual([{ kind: "fenced", isPublished: false }]);
  });

  test("an event emitted at whatever moment after a flush is not forgotten", async () => {
    const { db, appender } = open();
    const log = new RunLog({
      conversationId: new Source(0).conversationId,
      tenantId: "tenant_00000000000000000000000000000001",
      runId: "run_00000000000000000000000000000001",
      epoch: 1,
      correlationId: "c",
      appender,
      onLost: () => {},
    });
    for (let ticks = 0; ticks < 12; ticks++) {
      log.emit({ type: "STEP_STARTED", stepName: "a" });
      const flushed = log.flush();
      answers(await db.next(), "ok");
      await flushed;
      for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
    }
    await appender.idle();
  });
});

describe("a locked conversation", () => {
  test("is tried again with the next flush and keeps nobody waiting", async () => {
    const { db, appender } = open();
    const [locked, free, late] = [new Source(0), new Source(2), new Source(4)];
    appender.request(locked);
    appender.request(free);
    const first = await db.next();
    appender.request(late);
    answers(first, "locked", "ok");
    const second = await db.next();
    expect(new Set(conversationsOf(second))).toEqual(new Set([0, 4]));
    second.answer([
      { slot: 1 + conversationsOf(second).indexOf(4), outcome: "ok", base: "0", at: new Date(0) },
      { slot: 1 + conversationsOf(second).indexOf(0), outcome: "locked", base: null, at: new Date(0) },
    ]);
    const third = await db.next();
    expect(conversationsOf(third)).toEqual([0]);
    expect(late.settled).toHaveLength(1);
    answers(third, "ok");
    await appender.idle();
    expect(locked.settled).toEqual([{ kind: "stored", isPublished: true }]);
  });
});

describe("a lost connection", () => {
  test("before the batch was stored: it is sent again", async () => {
    const { db, appender } = open();
    const source = new Source(0);
    appender.request(source);
    (await db.next()).fail(cut());
    answers(await db.next(), "ok");
    await appender.idle();
    expect(source.settled).toEqual([{ kind: "stored", isPublished: true }]);
  });

  test("after it was stored: the position tells, and nothing is stored twice", async () => {
    const { db, published, appender } = open();
    const source = new Source(0);
    appender.request(source);
    (await db.next()).fail(cut());
    answers(await db.next(), "fenced");
    const look = await db.next();
    expect(look.statement).toBe("head_position");
    look.answer([{ run_id: "00000000-0000-0000-0000-000000000001", epoch: 1, run_pos: "1" }]);
    await appender.idle();
    expect(source.settled).toEqual([{ kind: "stored", isPublished: false }]);
    expect(published).toEqual([]);
  });

  test("when the lease is gone by then, it is gone", async () => {
    const { db, appender } = open();
    const source = new Source(0);
    appender.request(source);
    (await db.next()).fail(cut());
    answers(await db.next(), "fenced");
    (await db.next()).answer([{ run_id: "00000000-0000-0000-0000-000000000001", epoch: 2, run_pos: "1" }]);
    await appender.idle();
    expect(source.settled).toEqual([{ kind: "fenced", isPublished: false }]);
  });

  test("also while looking at the position: it is asked again, and neighbours keep their answers", async () => {
    const { db, appender } = open();
    const [source, neighbour] = [new Source(0), new Source(2)];
    appender.request(source);
    appender.request(neighbour);
    (await db.next()).fail(cut());
    answers(await db.next(), "fenced", "ok");
    (await db.next()).fail(cut());
    const again = await db.next();
    expect([again.statement, conversationsOf(again)]).toEqual(["append_events", [0]]);
    answers(again, "fenced");
    (await db.next()).answer([{ run_id: "00000000-0000-0000-0000-000000000001", epoch: 1, run_pos: "1" }]);
    await appender.idle();
    expect(source.settled).toEqual([{ kind: "stored", isPublished: false }]);
    expect(neighbour.settled).toEqual([{ kind: "stored", isPublished: true }]);
  });

  test("a first try that is fenced is not looked up", async () => {
    const { db, appender } = open();
    const source = new Source(0);
    appender.request(source);
    answers(await db.next(), "fenced");
    await appender.idle();
    expect(db.calls).toEqual([]);
  });
});

describe("an event that cannot be stored", () => {
  test.each(["22021", "23514", "42883", "54000"])(
    "SQLSTATE %s fails its own conversation and no other",
    async (code) => {
      const { db, appender } = open();
      const sources = [0, 2, 4, 6].map((n) => new Source(n));
      for (const source of sources) appender.request(source);
      let isDone = false;
      const done = appender.idle().then(() => (isDone = true));
      while (!isDone) {
        const call = await Promise.race([db.next(), done.then(() => null)]);
        if (!call) break;
        const conversations = conversationsOf(call);
        if (conversations.includes(4)) call.fail(error("no", code));
        else answers(call, ...conversations.map(() => "ok" as const));
      }
      expect(sources.map(({ settled }) => settled[0]?.kind)).toEqual(["stored", "stored", "failed", "stored"]);
    },
  );
});
