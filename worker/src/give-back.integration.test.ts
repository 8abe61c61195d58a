import { afterAll, beforeAll, expect, test } from "vitest";
import { createAgentConfigReader } from "@agent-engine/core/agents/get-agent-config.ts";
import { createAppender } from "@agent-engine/core/events/appender.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { sweepOnce } from "@agent-engine/core/queue/dispatcher.ts";
import { claimRun } from "@agent-engine/core/runs/claim-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { registerWorker } from "@agent-engine/core/workers/worker-registry.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { executeRun } from "./execute-run.ts";
import { startMortalWorker } from "./mortal-worker-fixture.ts";
import { calls, says, startProduct, type Product } from "./product-fixture.ts";
import { openWorld } from "./world.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterAll(() => product.stop());

test("a run that its worker drops because heartbeats stood still is free again once they go on", async () => {
  const { services } = product;
  const chat = await product.chat();
  const { id: runId } = await chat.ask(
    say("Please", { steps: [calls("set", "late")] }, { steps: [says("Here you are.")] }),
  );
  const lease = await registerWorker(services, { slots: 1, active: () => 1 });
  const claim = await claimRun(services, { runId, handOver: 1, correlationId: "test" }, lease.uuid);
  if (!claim || claim.kind === "suspect") throw new Error("the run was not to be claimed");
  const world = openWorld(services, { nodeEnv: "test" }, { stall: product.stall });
  // Frozen, or without a database, for longer than a lease: on the database's side the heartbeat has gone on since.
  const late = { ...lease, isHeld: () => false };
  const appender = createAppender(services);
  const agentOf = createAgentConfigReader(services);
  const { retryPolicy } = product;
  await executeRun({ services, appender, lease: late, agentOf, retryPolicy, ...world }, claim, new AbortController());
  const { rows } = await product.db.query("select worker_id, attempt from runs where id = $1", [uuidOf(runId)]);
  expect(rows).toEqual([{ worker_id: null, attempt: 0 }]);
  await sweepOnce(services);
  await (
    await startMortalWorker(product, runId)
  )?.ended;
  expect(await getRun(chat.staff, runId)).toMatchObject({ status: "completed", attempt: 1 });
  expect(await chat.texts()).toEqual(["Here you are."]);
  await world.close();
  await lease.stop();
  await product.expectSound();
});
