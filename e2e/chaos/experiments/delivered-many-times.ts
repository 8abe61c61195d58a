/**
 * 3: the same job delivered ten times. Its doorbell is rung on both queue classes, five times each, under job ids of
 * their own (the queue drops an id it holds), at once with the server's own ring; and again while the run runs. The run
 * must be executed once: one attempt, one epoch, and one model request beside those of the retries in its log. (On a
 * busy machine the answer that is held may be held for longer than the engine bears a silence.)
 */
import { Queue, type Job } from "bullmq";
import { Redis } from "ioredis";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { atOnce } from "../at-once.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { requestsOf } from "../model-requests.ts";
import type { World } from "../world.ts";

const DELIVERED = "job delivered ten times";
const DELIVERIES = 10;
const AT_ONCE = 10;
const FIRST_HAND_OVER = 1;

export const deliveredManyTimes: Experiment = {
  id: "3",
  title: "same job delivered ×10",
  target: "1 execution each",
  rounds: { quick: 10, full: 1_000 },
  faults: [DELIVERED],
  disturbs: "nobody",
  async run(world, trial) {
    const connection = new Redis(world.redis.url, { maxRetriesPerRequest: null });
    connection.on("error", () => {});
    const queues = ["priority", "standard"].map(
      (queueClass) => new Queue(`runs-${queueClass}`, { connection, prefix: "agent-engine", skipVersionCheck: true }),
    );
    try {
      await atOnce(AT_ONCE, Array.from({ length: trial.rounds }), () => deliver(world, trial, queues));
    } finally {
      await Promise.all(queues.map((queue) => queue.close()));
      connection.disconnect();
    }
  },
};

async function deliver(world: World, trial: Trial, queues: readonly Queue[]): Promise<void> {
  const talk = await trial.talk();
  const text = `Once, please, ${talk.conversationId}`;
  await trial.operation("an answer", async () => {
    const { run } = await talk.ask(say(text, { steps: [{ kind: "tokens", count: 5 }, { kind: "hold" }] }));
    const ring = (turn: number): Promise<Job> => {
      const jobId = `${run.id}-${FIRST_HAND_OVER}-again-${turn}`;
      const doorbell = { runId: run.id, handOver: FIRST_HAND_OVER, correlationId: "chaos" };
      const queue = queues[turn % queues.length] as Queue;
      return queue.add("run", doorbell, { jobId, attempts: 1, removeOnFail: true });
    };
    const turns = trial.random.shuffled(Array.from({ length: DELIVERIES }, (_, index) => index));
    const early = await Promise.all(turns.slice(0, DELIVERIES / 2).map(ring));
    const requests = () => requestsOf(world, text);
    await waitFor(() => requests().length > 0, { describe: "the run's model request", timeoutMs: 30_000 });
    const late = await Promise.all(turns.slice(DELIVERIES / 2).map(ring));
    const jobs = [...early, ...late];
    await waitFor(async () => (await Promise.all(jobs.map((job) => job.isCompleted()))).every(Boolean), {
      describe: "every delivery to be answered by a worker",
      timeoutMs: 30_000,
      intervalMs: 50,
    });
    trial.fired(DELIVERED);
    const release = () => requests().forEach((request) => request.release());
    release();
    // A retry is held too, and seen here before it is held for long.
    const stop = talk.client.subscribe(release);
    await talk.completed(run.id).finally(stop);
    await Promise.all(jobs.map((job) => job.remove()));

    const { rows } = await world.db.query<{ attempt: number; epochs: number; starts: number; retries: number }>(
      `select r.attempt, count(distinct e.epoch)::int as epochs,
              count(*) filter (where e.event->>'type' = 'RUN_STARTED')::int as starts,
              count(*) filter (where e.event->>'name' = 'run.retrying')::int as retries
       from runs r join events e on e.conversation_id = r.conversation_id and e.run_id = r.id and e.epoch is not null
       where r.id = $1 group by r.attempt`,
      [run.id.slice(4)],
    );
    const { retries = 0, ...rest } = rows[0] ?? {};
    const seen = JSON.stringify({ requests: requests().length - retries, ...rest });
    trial.must(
      seen === JSON.stringify({ requests: 1, attempt: 1, epochs: 1, starts: 1 }),
      `${run.id} has ${seen}, beside ${retries} retries`,
    );
  });
  await trial.check([talk]);
}
