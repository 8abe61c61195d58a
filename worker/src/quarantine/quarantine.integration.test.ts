import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "../main.ts";
import { startMortalWorker } from "../mortal-worker-fixture.ts";
import { calls, says, startProduct, type Chat, type Product } from "../product-fixture.ts";

let product: Product;
const workers: RunningWorker[] = [];

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterEach(async () => {
  for (const worker of workers.splice(0)) await worker.stop();
});
afterAll(() => product.stop());

async function addWorker(): Promise<RunningWorker> {
  const { services, retryPolicy, stall } = product;
  const config = { nodeEnv: "test" as const, workerConcurrency: 4 };
  const worker = await startWorker({ services, config, retryPolicy, stall });
  workers.push(worker);
  return worker;
}

/** Two workers have died of the run. */
async function suspect(chat: Chat, text: string): Promise<string> {
  const { id } = await chat.ask(text);
  for (let deaths = 0; deaths < 2; deaths++) {
    const worker = await startMortalWorker(product, id, { at: "append_events", when: "before" });
    expect(await worker?.ended).toBe("died");
  }
  return id;
}

async function holderOf(runId: string) {
  const { rows } = await product.db.query(
    "select r.crashes, r.attempt, r.status, w.id as worker, w.slots from runs r left join workers w on w.id = r.worker_id where r.id = $1",
    [uuidOf(runId)],
  );
  return rows[0] as { crashes: number; attempt: number; status: string; worker: string | null; slots: number };
}

const inQuarantine = (runId: string) =>
  waitFor(
    async () => {
      const holder = await holderOf(runId);
      return holder.worker !== null && holder.slots === 0 ? holder : null;
    },
    { describe: "the run to be in quarantine", timeoutMs: 20_000 },
  );

const slow = (tokens: number) => ({ gapMs: 20, steps: [{ kind: "tokens" as const, count: tokens }] });

test("a run that two workers died of is executed alone, in a process that nobody else is in, and ends as any other", async () => {
  const chat = await product.chat();
  const id = await suspect(chat, say("Please", { ...slow(30), steps: [calls("set", "alone")] }, slow(30)));
  await addWorker();
  expect(await inQuarantine(id)).toMatchObject({ crashes: 2, attempt: 3, status: "running" });
  const neighbour = await product.chat();
  expect(await neighbour.answered("Hello?")).toMatchObject({ status: "completed" });
  expect(await chat.settled(id)).toMatchObject({ status: "completed", attempt: 3 });
  expect(product.tools.ledger.filter(({ body }) => JSON.stringify(body).includes("alone"))).toHaveLength(1);
  await product.expectSound();
});

test("a stop reaches it there, and the conversation goes on", async () => {
  const chat = await product.chat();
  const id = await suspect(chat, say("Tell", slow(2_000)));
  await addWorker();
  await inQuarantine(id);
  await waitFor(async () => (await chat.texts()).length > 0, { describe: "some words" });
  await chat.cancel(id);
  expect(await chat.answered(say("And now?", { steps: [says("Now it works.")] }))).toMatchObject({
    status: "completed",
  });
  await product.expectSound();
});

test("a worker that stops hands it over in good order, and takes its process along", async () => {
  const chat = await product.chat();
  const id = await suspect(chat, say("Tell", slow(150)));
  const worker = await addWorker();
  const { worker: cell } = await inQuarantine(id);
  await worker.stop({ drainMs: 2_000 });
  workers.splice(workers.indexOf(worker), 1);
  expect(await holderOf(id)).toMatchObject({ worker: null, crashes: 2, attempt: 2 });
  expect((await product.db.query("select 1 from workers where id = $1", [cell])).rows).toEqual([]);
  await addWorker();
  expect(await chat.settled(id)).toMatchObject({ status: "completed", attempt: 3 });
  expect(await getRun(chat.staff, id)).toMatchObject({ error: null });
  await product.expectSound();
});
