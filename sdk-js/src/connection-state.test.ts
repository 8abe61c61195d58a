import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { transition, type ConnectionEvent, type ConnectionState } from "./connection-state.ts";

const run = (...events: ConnectionEvent[]): ConnectionState =>
  events.reduce<ConnectionState>(transition, { status: "idle" });

const open: ConnectionEvent = { type: "open" };
const connected: ConnectionEvent = { type: "connected" };
const lost: ConnectionEvent = { type: "lost" };
const retry: ConnectionEvent = { type: "retry" };
const unavailable: ConnectionEvent = { type: "lost", code: "realtime_unavailable", retryable: true };

describe("the connection", () => {
  it("goes from idle over connecting to live", () => {
    expect(run(open)).toEqual({ status: "connecting", failures: 0 });
    expect(run(open, connected)).toEqual({ status: "live" });
  });

  it("waits and tries again after it was cut", () => {
    expect(run(open, connected, lost)).toEqual({ status: "reconnecting", failures: 0 });
    expect(run(open, connected, lost, retry)).toEqual({ status: "connecting", failures: 0 });
    expect(run(open, connected, lost, retry, lost)).toEqual({ status: "reconnecting", failures: 1 });
  });

  it("reads without a socket once two attempts failed, or at once when realtime is unavailable", () => {
    expect(run(open, lost, retry, lost)).toEqual({ status: "degraded", failures: 2, via: null });
    // Who says so answers: events come, by asking.
    expect(run(open, unavailable)).toEqual({ status: "degraded", failures: 1, via: "poll" });
    expect(run(open, connected, unavailable)).toEqual({ status: "degraded", failures: 0, via: "poll" });
  });

  it("leaves degraded only for a live socket", () => {
    const degraded = run(open, unavailable, { type: "fallback", via: "stream" });
    expect(degraded).toEqual({ status: "degraded", failures: 1, via: "stream" });
    expect(transition(degraded, lost)).toEqual({ status: "degraded", failures: 2, via: "stream" });
    expect(transition(degraded, { type: "fallback", via: "stream" })).toBe(degraded);
    expect(transition(degraded, connected)).toEqual({ status: "live" });
  });

  it("gives up when told that trying again is useless, and opens again when asked", () => {
    const closed = run(open, { type: "lost", code: "origin_not_allowed", retryable: false });
    expect(closed).toEqual({ status: "closed", reason: "origin_not_allowed" });
    expect(transition(closed, retry)).toBe(closed);
    expect(transition(closed, open)).toEqual({ status: "connecting", failures: 0 });
  });

  it("closes from every state, and after that only opening moves it", () => {
    const event = fc.oneof(
      fc.constantFrom<ConnectionEvent>(open, connected, lost, retry, unavailable),
      fc
        .constantFrom("stream" as const, "poll" as const, null)
        .map((via): ConnectionEvent => ({ type: "fallback", via })),
    );
    fc.assert(
      fc.property(fc.array(event), fc.array(event.filter(({ type }) => type !== "open")), (before, after) => {
        const closed = run(...before, { type: "close" });
        expect(closed).toEqual({ status: "closed", reason: null });
        expect(after.reduce(transition, closed)).toBe(closed);
      }),
    );
  });

  it("never counts failures down except by going live or being opened", () => {
    const failuresOf = (state: ConnectionState) => ("failures" in state ? state.failures : 0);
    fc.assert(
      fc.property(fc.array(fc.constantFrom(connected, lost, retry, unavailable)), (events) => {
        let state = run(open);
        for (const event of events) {
          const next = transition(state, event);
          if (next.status !== "live" && state.status !== "live")
            expect(failuresOf(next)).toBeGreaterThanOrEqual(failuresOf(state));
          state = next;
        }
      }),
    );
  });
});
