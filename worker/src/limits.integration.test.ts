/** An agent's limits are the run's, whoever executes it and however often it waits: at the limit, and one over it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { AgentConfig, Run } from "@agent-engine/protocol/resources.ts";
import { startMortalWorker, type Death } from "./mortal-worker-fixture.ts";
import { calls, says, shopToolkit, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

type Way = "in one go" | "through a death" | "through an approval";
const WAYS: readonly Way[] = ["in one go", "through a death", "through an approval"];

const limits = (own: Partial<AgentConfig["limits"]>): AgentConfig["limits"] => ({
  maxSteps: 12,
  maxTokens: 200_000,
  maxCostMicros: null,
  maxSeconds: 300,
  ...own,
});

/** Two turns that ask for a tool, and one that answers. */
const THREE_TURNS = say(
  "Please",
  { steps: [calls("set", "a")] },
  { steps: [calls("set", "b")] },
  { steps: [says("Ok.")] },
);

function openChat(way: Way, own: Partial<AgentConfig["limits"]>): Promise<Chat> {
  const tools: AgentConfig["toolkits"] =
    way === "through an approval"
      ? [shopToolkit(product.tools.url, { defaultPolicy: "approve" })]
      : [shopToolkit(product.tools.url)];
  return product.chat({ toolkits: tools, limits: limits(own) });
}

async function executeOnce(runId: string, death?: Death): Promise<void> {
  const worker = await startMortalWorker(product, runId, death);
  expect(await worker?.ended).toBe(death ? "died" : "ended");
}

/** To the run's end: its first worker dies once it has recorded a turn, or each call waits for staff. */
async function play(chat: Chat, way: Way, asked: Run): Promise<Run> {
  if (way === "through a death") await executeOnce(asked.id, { at: "tool_step_insert", when: "after" });
  for (;;) {
    await executeOnce(asked.id);
    const run = await getRun(chat.staff, asked.id);
    if (run.status !== "waiting") return run;
    await chat.resume(run, "approve");
  }
}

describe.each(WAYS)("%s", (way) => {
  test("steps: as many as allowed are made, and not one more", async () => {
    for (const [maxSteps, finishReason, turns] of [
      [3, "stop", 3],
      [2, "limit", 2],
      [1, "limit", 1],
    ] as const) {
      const chat = await openChat(way, { maxSteps });
      const run = await play(chat, way, await chat.ask(THREE_TURNS));
      expect(run).toMatchObject({ status: "completed", finishReason });
      expect(chat.requests("Please")).toHaveLength(turns);
    }
  });

  test("tokens: a turn begins while there is one left, and none once they are used up", async () => {
    const free = await openChat(way, {});
    const whole = await play(free, way, await free.ask(THREE_TURNS));
    const { rows } = await product.db.query(
      "select (usage->0->>'totalTokens')::int as tokens from steps where run_id = $1 order by step_index",
      [uuidOf(whole.id)],
    );
    const two = rows[0].tokens + rows[1].tokens;
    for (const [maxTokens, finishReason, turns] of [
      [two + 1, "stop", 3],
      [two, "limit", 2],
    ] as const) {
      const chat = await openChat(way, { maxTokens });
      const run = await play(chat, way, await chat.ask(THREE_TURNS));
      expect(run).toMatchObject({ status: "completed", finishReason });
      expect(chat.requests("Please")).toHaveLength(turns);
    }
  });
});

describe("seconds", () => {
  /** As if the run's events up to the last of this type had been so much earlier. */
  async function shift(runId: string, upTo: string, seconds: number): Promise<void> {
    await product.db.query(
      `update events e set at = e.at - $3 * interval '1 second' where e.run_id = $1 and e.seq <=
         (select max(l.seq) from events l where l.run_id = $1 and l.event->>'type' = $2)`,
      [uuidOf(runId), upTo, seconds],
    );
  }

  test.each([
    [50, "stop", 3],
    [60, "limit", 1],
  ] as const)(
    "that a dead worker spent are spent: %i of 60, and it ends with %s",
    async (spent, finishReason, turns) => {
      const chat = await openChat("through a death", { maxSeconds: 60 });
      const asked = await chat.ask(THREE_TURNS);
      await executeOnce(asked.id, { at: "tool_step_insert", when: "after" });
      await shift(asked.id, "RUN_STARTED", spent);
      await executeOnce(asked.id);
      expect(await getRun(chat.staff, asked.id)).toMatchObject({ status: "completed", finishReason });
      expect(chat.requests("Please")).toHaveLength(turns);
    },
  );

  test("in which it waited for a person are not its own", async () => {
    const chat = await openChat("through an approval", { maxSeconds: 60 });
    const asked = await chat.ask(THREE_TURNS);
    await executeOnce(asked.id);
    await shift(asked.id, "RUN_FINISHED", 3_600);
    expect(await play(chat, "through an approval", await approved(chat, asked.id))).toMatchObject({
      status: "completed",
      finishReason: "stop",
    });
  });

  async function approved(chat: Chat, runId: string): Promise<Run> {
    const run = await getRun(chat.staff, runId);
    await chat.resume(run, "approve");
    return run;
  }
});
