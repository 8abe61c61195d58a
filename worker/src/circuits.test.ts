import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import fc from "fast-check";
import { createCircuits, type CircuitName, type Circuits } from "./circuits.ts";
import type { Attempted } from "./engine/circuit.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";

const limits = { failures: 3, openMs: 1_000, maxOpenMs: 4_000, max: 4 };
const START = Date.UTC(2026, 0, 1);
const at = (ms: number) => new Date(START + ms).toISOString();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

const name = (more: Partial<CircuitName> = {}): CircuitName => ({
  tenantId: "tenant_a",
  of: "model",
  provider: "openai",
  host: "api.example",
  ...more,
});

const failed: Attempted<string> = {
  end: "failed",
  health: "failed",
  failure: failureOf("model.unavailable", "500 oops", { requestId: "req_9" }),
};
const healthy: Attempted<string> = { end: "healthy", health: "healthy", failure: null };
const unclear: Attempted<string> = { end: "unclear", health: "unclear", failure: null };

/** Makes attempts one after the other; what each came to: its end, or `open`. */
async function tries(circuits: Circuits, attempts: readonly Attempted<string>[], of = name()): Promise<string[]> {
  const ends: string[] = [];
  for (const attempt of attempts) {
    const guarded = await circuits.circuitOf(of).guard(async () => attempt);
    ends.push(guarded.kind === "made" ? guarded.end : "open");
  }
  return ends;
}

test("opens after so many failures in a row, and says since when, until when and after what", async () => {
  const circuits = createCircuits(limits);
  expect(await tries(circuits, [failed, failed, failed])).toEqual(["failed", "failed", "failed"]);
  let made = 0;
  const guarded = await circuits.circuitOf(name()).guard(async () => {
    made++;
    return healthy;
  });
  expect(guarded).toEqual({
    kind: "open",
    circuit: {
      since: at(0),
      retryAt: at(1_000),
      failures: 3,
      last: { code: "unavailable", detail: "500 oops", requestId: "req_9", at: at(0) },
    },
  });
  expect(made).toBe(0);
  expect(circuits.snapshot()).toMatchObject([
    { ...name(), state: "open", failures: 3, refused: 1, since: at(0), retryAt: at(1_000) },
  ]);
});

test.each([
  ["an answer in between", [failed, failed, healthy, failed, failed]],
  ["attempts that say nothing", [unclear, unclear, unclear, unclear]],
])("stays closed with %s", async (_, attempts) => {
  const circuits = createCircuits(limits);
  expect(await tries(circuits, attempts)).not.toContain("open");
  expect(await tries(circuits, [healthy])).toEqual(["healthy"]);
  expect(circuits.snapshot()).toEqual([]);
});

test("what says nothing does not clear the failures before it either", async () => {
  const circuits = createCircuits(limits);
  expect(await tries(circuits, [failed, failed, unclear, failed, healthy])).toEqual([
    ...["failed", "failed", "unclear", "failed"],
    "open",
  ]);
});

describe("when its time is over", () => {
  async function opened(): Promise<Circuits> {
    const circuits = createCircuits(limits);
    await tries(circuits, [failed, failed, failed]);
    vi.setSystemTime(START + 1_000);
    return circuits;
  }

  test("one call tries, and nobody waits for it; its success closes the circuit", async () => {
    const circuits = await opened();
    const probe = Promise.withResolvers<Attempted<string>>();
    const probing = circuits.circuitOf(name()).guard(() => probe.promise);
    expect(circuits.snapshot()).toMatchObject([{ state: "half_open" }]);
    expect(await tries(circuits, [healthy, healthy])).toEqual(["open", "open"]);
    probe.resolve(healthy);
    expect(await probing).toEqual({ kind: "made", end: "healthy" });
    expect(await tries(circuits, [healthy])).toEqual(["healthy"]);
    expect(circuits.snapshot()).toEqual([]);
  });

  test.each([
    ["its failure", async () => failed],
    ["one that was broken off", async () => unclear],
  ])("%s opens it again, for twice as long up to a limit", async (_, probe) => {
    const circuits = await opened();
    let nowMs = START + 1_000;
    for (const openMs of [2_000, 4_000, 4_000]) {
      expect((await circuits.circuitOf(name()).guard(probe)).kind).toBe("made");
      expect(circuits.snapshot()).toMatchObject([{ state: "open", since: at(0), retryAt: at(nowMs - START + openMs) }]);
      nowMs += openMs;
      vi.setSystemTime(nowMs - 1);
      expect(await tries(circuits, [healthy])).toEqual(["open"]);
      vi.setSystemTime(nowMs);
    }
    expect(await tries(circuits, [healthy])).toEqual(["healthy"]);
  });

  test("a probe that throws is thrown on, and shows nothing", async () => {
    const circuits = await opened();
    const lost = circuits.circuitOf(name()).guard(() => Promise.reject(new Error("the lease is lost")));
    await expect(lost).rejects.toThrow("the lease is lost");
    expect(await tries(circuits, [healthy])).toEqual(["open"]);
  });
});

test("what an effect throws is thrown on and not counted", async () => {
  const circuits = createCircuits(limits);
  for (let i = 0; i < 5; i++) {
    const lost = circuits.circuitOf(name()).guard(() => Promise.reject(new Error("the lease is lost")));
    await expect(lost).rejects.toThrow("the lease is lost");
  }
  expect(circuits.snapshot()).toEqual([]);
});

test.each<Partial<CircuitName>>([
  { tenantId: "tenant_b" },
  { provider: "anthropic" },
  { host: "other.example" },
  { of: "tool" },
])("is not opened by the failures of another: %o", async (other) => {
  const circuits = createCircuits(limits);
  expect(await tries(circuits, [failed, failed, failed, failed])).toContain("open");
  expect(await tries(circuits, [healthy], name(other))).toEqual(["healthy"]);
  expect(await tries(circuits, [healthy])).toEqual(["open"]);
});

test("however many tenants fail, so many circuits are kept, and none that a call is under way in is lost", async () => {
  const circuits = createCircuits(limits);
  await tries(circuits, [failed, failed]);
  const slow = Promise.withResolvers<Attempted<string>>();
  const underWay = circuits.circuitOf(name()).guard(() => slow.promise);
  for (let i = 0; i < 20; i++) await tries(circuits, [failed], name({ tenantId: `tenant_${i}` }));
  expect(circuits.snapshot().length).toBeLessThanOrEqual(limits.max);
  slow.resolve(failed);
  await underWay;
  expect(await tries(circuits, [healthy])).toEqual(["open"]);
});

test("never makes a call between opening and its time, whatever came before", async () => {
  const step = fc.record({
    attempt: fc.constantFrom(failed, healthy, unclear),
    laterMs: fc.constantFrom(0, 400, 1_000, 5_000),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      vi.setSystemTime(START);
      const circuits = createCircuits(limits);
      let [failures, openUntil, openings] = [0, -1, 0];
      for (const { attempt, laterMs } of steps) {
        vi.setSystemTime(Date.now() + laterMs);
        const isOpen = openings > 0 && Date.now() < openUntil;
        expect(await tries(circuits, [attempt])).toEqual([isOpen ? "open" : attempt.end]);
        if (isOpen) continue;
        if (attempt.health === "healthy") [failures, openings] = [0, 0];
        else if (attempt.health === "failed" || openings > 0) {
          failures++;
          if (openings > 0 || failures >= limits.failures) {
            openUntil = Date.now() + Math.min(limits.maxOpenMs, limits.openMs * 2 ** openings);
            openings++;
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});
