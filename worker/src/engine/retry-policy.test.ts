import { describe, expect, it } from "vitest";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { defaultRetryPolicy, retryDelay } from "./retry-policy.ts";

const failure: Failure = { kind: "transient", code: "x", detail: "", requestId: null, retryAfterMs: null };
const delays = (random: number) =>
  [1, 2, 3, 4].map((attempt) =>
    retryDelay(defaultRetryPolicy, { failure, attempt, sinceFirstFailureMs: 0 }, () => random),
  );

describe("the wait before the next attempt", () => {
  it("grows exponentially with full jitter and ends after four attempts", () => {
    expect(delays(1)).toEqual([500, 1_000, 2_000, null]);
    expect(delays(0)).toEqual([0, 0, 0, null]);
  });

  it("is capped", () => {
    const policy = { ...defaultRetryPolicy, maxAttempts: 20 };
    expect(retryDelay(policy, { failure, attempt: 12, sinceFirstFailureMs: 0 }, () => 1)).toBe(15_000);
  });

  it("is never shorter than asked, and there is none when that is too late", () => {
    const asked = { ...failure, retryAfterMs: 10_000 };
    const at = (sinceFirstFailureMs: number) =>
      retryDelay(defaultRetryPolicy, { failure: asked, attempt: 1, sinceFirstFailureMs }, () => 0);
    expect(at(0)).toBe(10_000);
    expect(at(50_000)).toBe(10_000);
    expect(at(50_001)).toBeNull();
  });
});
