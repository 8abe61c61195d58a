import { describe, expect, test } from "vitest";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { LeaseLost } from "./append-in-transaction.ts";
import type { NewEvent, Slot } from "./append.ts";
import type { Appender, AppendSource } from "./appender.ts";
import { RunLog } from "./run-log.ts";

/** An appender that stores when the test says so. */
class HandAppender implements Appender {
  requests = 0;
  #source: AppendSource | null = null;
  request(source: AppendSource): void {
    this.requests++;
    this.#source = source;
  }
  take(): Slot {
    const slot = this.#source?.take();
    if (!slot) throw new Error("nothing to take");
    return slot;
  }
  get hasSlot(): boolean {
    return Boolean(this.#source?.take());
  }
  settle(slot: Slot, kind: "stored" | "fenced"): void {
    this.#source?.settle(slot, kind === "stored" ? { kind, envelopes: [] } : { kind });
  }
  fail(slot: Slot, error: Error): void {
    this.#source?.settle(slot, { kind: "failed", error });
  }
  async idle(): Promise<void> {}
}

function open() {
  const appender = new HandAppender();
  const lost: Error[] = [];
  const log = new RunLog({
    conversationId: "conv_1",
    tenantId: "tenant_1",
    runId: "run_1",
    epoch: 3,
    correlationId: "c",
    appender,
    onLost: (error) => lost.push(error),
  });
  return { appender, log, lost };
}

const step = (stepName: string): ConversationEvent => ({ type: "STEP_STARTED", stepName });
const text = (delta: string): ConversationEvent => ({ type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta });
const bodies = (events: readonly NewEvent[]) => events.map(({ event }) => event);

/** Whether a promise has settled, once everything that was ready has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const mark = () => (settled = true);
  promise.then(mark, mark);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

describe("emit", () => {
  test("asks once for what gathers, and hands it over in order under the run's fence", () => {
    const { appender, log } = open();
    log.emit(step("a"));
    log.emit(step("b"), "staff");
    const slot = appender.take();
    expect(slot).toMatchObject({
      conversationId: "conv_1",
      tenantId: "tenant_1",
      fence: { runId: "run_1", epoch: 3, position: 0 },
    });
    expect(slot.events).toEqual([
      { event: step("a"), audience: "all", runId: "run_1", correlationId: "c" },
      { event: step("b"), audience: "staff", runId: "run_1", correlationId: "c" },
    ]);
  });

  test("makes one event of deltas that gather; those of another audience stay apart", () => {
    const { appender, log } = open();
    for (const delta of ["a", "b", "c"]) log.emit(text(delta));
    log.emit(text("d"), "staff");
    log.emit(text("e"), "staff");
    expect(bodies(appender.take().events)).toEqual([text("abc"), text("de")]);
  });

  test("does not add to what is on its way", () => {
    const { appender, log } = open();
    log.emit(text("a"));
    const first = appender.take();
    log.emit(text("b"));
    expect(bodies(first.events)).toEqual([text("a")]);
    expect(appender.hasSlot).toBe(false);
    appender.settle(first, "stored");
    expect(bodies(appender.take().events)).toEqual([text("b")]);
  });

  test("moves the position by stored events, merged ones counting once", () => {
    const { appender, log } = open();
    log.emit(step("a"));
    for (const delta of ["a", "b"]) log.emit(text(delta));
    const first = appender.take();
    appender.settle(first, "stored");
    log.emit(step("b"));
    expect(appender.take().fence?.position).toBe(2);
  });

  test("never asks while a slot is under way, and asks for the rest by itself afterwards", () => {
    const { appender, log } = open();
    log.emit(step("a"));
    const first = appender.take();
    log.emit(step("b"));
    expect(appender.requests).toBe(1);
    appender.settle(first, "stored");
    expect(appender.requests).toBe(2);
  });

  test("follows the run's brackets, counting what is still pending", () => {
    const { log } = open();
    log.emit(step("a"));
    expect(log.brackets.stepName).toBe("a");
  });
});

describe("flush", () => {
  test("has nothing to wait for when nothing was emitted", async () => {
    await open().log.flush();
  });

  test("waits for what was emitted before it, not for what comes later", async () => {
    const { appender, log } = open();
    log.emit(step("a"));
    const first = appender.take();
    log.emit(text("b"));
    const flushed = log.flush();
    log.emit(text("c"));
    appender.settle(first, "stored");
    expect(await isSettled(flushed)).toBe(false);
    const second = appender.take();
    log.emit(step("d"));
    appender.settle(second, "stored");
    await flushed;
  });

  test("rejects with the reason when the lease is lost, also everyone who asks later", async () => {
    const { appender, log, lost } = open();
    log.emit(step("a"));
    const flushed = log.flush();
    appender.settle(appender.take(), "fenced");
    await expect(flushed).rejects.toBeInstanceOf(LeaseLost);
    await expect(log.flush()).rejects.toBeInstanceOf(LeaseLost);
    await expect(log.takeOver([], async () => {})).rejects.toBeInstanceOf(LeaseLost);
    expect(lost).toHaveLength(1);
    expect(log.lost).toBeInstanceOf(LeaseLost);
  });

  test("an event that cannot be stored loses the log, with the cause kept", async () => {
    const { appender, log, lost } = open();
    log.emit(step("a"));
    const cause = new Error("value too long");
    appender.fail(appender.take(), cause);
    await expect(log.flush()).rejects.toMatchObject({ cause });
    expect(lost[0]).not.toBeInstanceOf(LeaseLost);
  });

  test("what is emitted after the loss goes nowhere", () => {
    const { appender, log } = open();
    log.emit(step("a"));
    appender.settle(appender.take(), "fenced");
    log.emit(step("b"));
    expect(appender.hasSlot).toBe(false);
    expect(appender.requests).toBe(1);
  });
});

describe("takeOver", () => {
  test("waits for the flush under way, then hands over the rest and the last events with the fence", async () => {
    const { appender, log } = open();
    log.emit(step("a"));
    const first = appender.take();
    log.emit(step("b"));
    let handed: { position: number; events: ConversationEvent[] } | null = null;
    const done = log.takeOver(
      [{ event: step("c") }, { event: step("d"), audience: "staff" }],
      async ({ fence, events }) => {
        handed = { position: fence.position, events: bodies(events) };
        expect(events.at(-1)?.audience).toBe("staff");
        return "written";
      },
    );
    expect(await isSettled(done)).toBe(false);
    expect(handed).toBeNull();
    appender.settle(first, "stored");
    await expect(done).resolves.toBe("written");
    expect(handed).toEqual({ position: 1, events: [step("b"), step("c"), step("d")] });
  });

  test("moves on by what it wrote, and what came meanwhile follows", async () => {
    const { appender, log } = open();
    log.emit(step("a"));
    await log.takeOver([{ event: step("b") }], async () => {
      log.emit(step("c"));
      expect(appender.hasSlot).toBe(false);
    });
    const slot = appender.take();
    expect(slot.fence?.position).toBe(2);
    expect(bodies(slot.events)).toEqual([step("c")]);
    appender.settle(slot, "stored");
    await log.flush();
  });

  test("lets a flush that waits for its events resolve", async () => {
    const { log } = open();
    log.emit(step("a"));
    const flushed = log.flush();
    await log.takeOver([], async () => {});
    await flushed;
  });

  test("a failure loses the log and reaches everyone who waits", async () => {
    const { log, lost } = open();
    log.emit(step("a"));
    const flushed = log.flush();
    const failure = new Error("connection lost");
    await expect(log.takeOver([], () => Promise.reject(failure))).rejects.toBe(failure);
    await expect(flushed).rejects.toBe(failure);
    expect(lost).toEqual([failure]);
  });
});
