import { describe, expect, test } from "vitest";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { play, ToolFailed, verifyRun } from "./engine/engine-harness.ts";
import { createRateLimits } from "./rate-limits.ts";

const name = { tenantId: "tenant_t", toolkit: "shop", host: "shop.example", tool: "shop_look" } as const;
const asks = (retryAfterMs: number) => failureOf("tool.rate_limited", "slow down", { retryAfterMs });

describe("what asked to be left alone", () => {
  test("is, for that account, until the time is over", () => {
    const limit = createRateLimits().rateLimitOf(name);
    limit.failed("conn_a", asks(90_000), 1_000);
    expect(limit.heldBy("conn_a", 90_999)).toMatchObject({ untilMs: 91_000, failure: { code: "rate_limited" } });
    expect(limit.heldBy("conn_b", 1_000)).toBeNull();
    expect(limit.heldBy(null, 1_000)).toBeNull();
    expect(limit.heldBy("conn_a", 91_000)).toBeNull();
  });

  test.each([
    { tenantId: "tenant_u" },
    { toolkit: "other" },
    { host: "other.example" },
    { tool: "shop_send" },
  ] as const)("is not another: %o", (other) => {
    const limits = createRateLimits();
    limits.rateLimitOf(name).failed(null, asks(90_000), 0);
    expect(limits.rateLimitOf({ ...name, ...other }).heldBy(null, 1)).toBeNull();
    expect(limits.rateLimitOf(name).heldBy(null, 1)).not.toBeNull();
  });

  test("is free again when it answers, and a shorter time does not take from a longer one", () => {
    const limit = createRateLimits().rateLimitOf(name);
    limit.failed(null, asks(90_000), 0);
    limit.failed(null, asks(1_000), 0);
    expect(limit.heldBy(null, 2_000)).toMatchObject({ untilMs: 90_000 });
    limit.failed(null, failureOf("tool.timeout", "silent"), 2_000);
    expect(limit.heldBy(null, 2_000)).not.toBeNull();
    limit.answered(null, 2_000);
    expect(limit.heldBy(null, 2_000)).toBeNull();
  });

  test("stays so when what was sent before it asked is answered after", () => {
    const limit = createRateLimits().rateLimitOf(name);
    limit.failed(null, asks(90_000), 5_000);
    limit.answered(null, 4_000);
    limit.answered(null, 5_000);
    expect(limit.heldBy(null, 6_000)).not.toBeNull();
    limit.answered(null, 5_001);
    expect(limit.heldBy(null, 6_000)).toBeNull();
  });

  test("is forgotten where there are too many, the oldest first", () => {
    const limits = createRateLimits(3);
    const tools = ["a", "b", "c", "d"].map((tool) => limits.rateLimitOf({ ...name, tool }));
    for (const tool of tools) tool.failed(null, asks(90_000), 0);
    expect(tools.map((tool) => tool.heldBy(null, 1) !== null)).toEqual([false, true, true, true]);
  });
});

describe("runs of one tenant", () => {
  const scripts = [[{ call: "t", arguments: {} }]];
  const refuses = async () => {
    throw new ToolFailed({ code: "rate_limited", retryAfterMs: 90_000 });
  };

  test.each(["read", "write"] as const)("send nothing (%s) while another run's Retry-After lasts", async (effect) => {
    const rateLimit = createRateLimits().rateLimitOf(name);
    const first = await play({ scripts, tools: [{ name: "t", effect: "read", call: refuses, rateLimit }] });
    expect(first.ledger).toHaveLength(1);
    expect(first.result).toMatchObject({ interrupts: [{ metadata: { code: "rate_limited", retryAfterMs: 90_000 } }] });
    const next = await play({ scripts, tools: [{ name: "t", effect, rateLimit }] });
    expect(next.ledger).toEqual([]);
    expect(next.begun).toEqual([]);
    expect(next.result).toMatchObject({
      kind: "interrupt",
      interrupts: [
        {
          reason: "operator",
          metadata: {
            code: "rate_limited",
            outcome: "not_done",
            attempts: 0,
            retryAfterMs: 90_000,
            retryAt: "2026-01-01T00:01:30.000Z",
          },
        },
      ],
    });
    await verifyRun(next);
  });

  test("wait by themselves for what is left of a short one, and then send", async () => {
    const rateLimit = createRateLimits().rateLimitOf(name);
    rateLimit.failed(null, asks(7_000), Date.UTC(2026, 0, 1));
    const run = await play({
      scripts: [...scripts, [{ say: "Done." }]],
      tools: [{ name: "t", effect: "write", rateLimit }],
    });
    expect(run.ledger).toHaveLength(1);
    expect(run.clock.now()).toBeGreaterThanOrEqual(Date.UTC(2026, 0, 1) + 7_000);
    expect(run.result).toMatchObject({ kind: "finished" });
  });
});
