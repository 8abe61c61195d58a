import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import type { OpenCircuit } from "@agent-engine/core/toolkits/failure.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { modelFaults } from "@agent-engine/testing/model-faults.ts";
import { startWorker, type RunningWorker } from "./main.ts";
import { calls, says, startProduct, type Product } from "./product-fixture.ts";
import { openWorld, type World } from "./world.ts";

const HOUR_MS = 3_600_000;
/** Each test says how long what it opens stays open. One run makes three attempts. */
const limits = { failures: 3, openMs: HOUR_MS, maxOpenMs: HOUR_MS, max: 100 };

let product: Product;
let world: World;
let worker: RunningWorker;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
  const { services, retryPolicy, stall } = product;
  world = openWorld(services, { nodeEnv: "test" }, { stall, circuits: limits });
  worker = await startWorker({ services, config: { nodeEnv: "test", workerConcurrency: 16 }, retryPolicy, world });
});
afterEach(() => product.expectSound());
afterAll(async () => {
  await worker.stop();
  await product.stop();
});

const down = modelFaults.serverError;
const asked = (value: string) =>
  say("Do", { steps: [calls("send", value)] }, [down, down, down, { steps: [says("All is well again.")] }]);
const sent = (value: string) => product.tools.ledger.filter(({ body }) => JSON.stringify(body).includes(value));

describe("a model provider that keeps failing", () => {
  test("is not asked any more: runs wait at once, with all that an operator needs; other tenants are answered", async () => {
    limits.openMs = HOUR_MS;
    const chat = await product.chat();
    const first = await chat.answered(asked("open-1"));
    expect(first).toMatchObject({ interrupts: [{ metadata: { code: "unavailable", attempts: 3 } }] });

    const second = await chat.answered("Anybody there?");
    expect(chat.requests("Anybody there?")).toEqual([]);
    expect(second).toMatchObject({
      status: "waiting",
      interrupts: [
        {
          reason: "operator",
          metadata: {
            provider: "openai",
            code: "circuit_open",
            attempts: 0,
            tried: [],
            circuit: { failures: 3, last: { code: "unavailable" } },
            advice: expect.any(String),
            choices: ["retry", "abort"],
          },
        },
      ],
    });
    const [interrupt] = second.interrupts;
    const { circuit, retryAt } = (interrupt?.metadata ?? {}) as { circuit: OpenCircuit; retryAt: string };
    expect(Date.parse(circuit.retryAt) - Date.parse(circuit.since)).toBe(HOUR_MS);
    expect(Math.abs(Date.parse(retryAt) - Date.parse(circuit.retryAt))).toBeLessThan(1_000);
    const visitors = await getRun(chat.visitor, second.id);
    expect(JSON.stringify(visitors.interrupts)).not.toMatch(/circuit|openai/);

    // Told to retry too early it asks nobody, and says so again.
    const again = await chat.decide(second, "retry");
    expect(again).toMatchObject({ status: "waiting", interrupts: [{ metadata: { code: "circuit_open" } }] });
    expect(chat.requests("Anybody there?")).toEqual([]);
    expect(world.circuits()).toMatchObject([{ of: "model", provider: "openai", state: "open", refused: 2 }]);

    const other = await product.chat();
    expect(await other.answered("And to me?")).toMatchObject({ status: "completed" });
    await chat.decide(again, "abort");
  });

  test("is asked again when the time is over; the run goes on from its failed step and repeats nothing", async () => {
    limits.openMs = 1;
    const before = world.circuits().length;
    const chat = await product.chat();
    const waiting = await chat.answered(asked("probe-1"));
    expect(waiting).toMatchObject({ status: "waiting" });
    expect(world.circuits()).toHaveLength(before + 1);
    const run = await chat.decide(waiting, "retry");
    expect(run).toMatchObject({ status: "completed" });
    expect(sent("probe-1")).toHaveLength(1);
    expect(chat.requests("Do")).toHaveLength(5);
    expect(await chat.texts()).toEqual(["All is well again."]);
    expect(world.circuits()).toHaveLength(before);
  });

  test("is not taken for ill when it refuses a key: each run hears it from the provider", async () => {
    limits.openMs = HOUR_MS;
    const chat = await product.chat();
    for (let i = 0; i < 5; i++) {
      expect(await chat.answered(say(`Key ${i}`, modelFaults.badKey))).toMatchObject({
        status: "failed",
        error: { code: "not_authorized" },
      });
    }
    expect(await chat.answered("And now?")).toMatchObject({ status: "completed" });
  });
});

test("a tool's host that keeps failing is not called any more, and the call is not on record as sent", async () => {
  limits.openMs = HOUR_MS;
  const chat = await product.chat();
  const broken = { kind: "error", when: "before", status: 500 } as const;
  product.tools.enqueueFaults(broken, broken, broken);
  const first = await chat.answered(say("Look", { steps: [calls("look", "a")] }));
  expect(first).toMatchObject({ interrupts: [{ metadata: { code: "server_error", attempts: 3 } }] });
  const waiting = await chat.answered(say("Send", { steps: [calls("send", "held-back")] }));
  expect(waiting).toMatchObject({
    status: "waiting",
    interrupts: [
      {
        metadata: {
          provider: "shop",
          host: new URL(product.tools.url).host,
          code: "circuit_open",
          outcome: "not_done",
          attempts: 0,
          sentAt: null,
          circuit: { failures: 3, last: { code: "server_error" } },
        },
      },
    ],
  });
  expect(sent("held-back")).toEqual([]);
  expect(await chat.invocations(waiting.id)).toMatchObject([{ status: "intended", attempts: 0 }]);
  // Nothing was sent, so a message that makes it give way leaves no question behind.
  expect(await chat.answered("Never mind")).toMatchObject({ status: "completed" });
  expect(await getRun(chat.staff, waiting.id)).toMatchObject({ status: "cancelled", interrupts: [] });

  const other = await product.chat();
  expect(await other.answered(say("Send", { steps: [calls("send", "let-through")] }))).toMatchObject({
    status: "completed",
  });
  expect(sent("let-through")).toHaveLength(1);
});
