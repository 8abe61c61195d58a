/**
 * 14a: a server is killed between the commit of a message and everything that follows it: its doorbells and its events
 * are swallowed on the way to Redis, then it dies. The sweeper finds the runs, and readers at another server, whom
 * nobody told, have the messages soon. The server is one of its own, so nobody else is disturbed.
 */
import { say } from "@agent-engine/testing/model-directive.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { requestsOf } from "../model-requests.ts";
import type { World } from "../world.ts";

const KILLED = "server killed between commit and doorbell";
const SEEN = "message at a reader after its commit";
const AT_ONCE = 6;
const TOKENS = 10;

export const relayKilled: Experiment = {
  id: "14a",
  title: "server killed around the enqueue",
  target: "0 lost, 0 double; readers catch up within 5 s",
  rounds: { quick: AT_ONCE, full: 300 },
  faults: [KILLED],
  disturbs: "nobody",
  figures: [{ name: SEEN, unit: "ms", limit: { quantile: 1, atMost: 5_000 } }],
  async run(world, trial) {
    const [reading] = world.servers;
    for (let done = 0; done < trial.rounds; done += AT_ONCE) {
      await round(world, trial, reading?.url ?? "", Math.min(AT_ONCE, trial.rounds - done));
    }
  },
};

async function round(world: World, trial: Trial, clientUrl: string, count: number): Promise<void> {
  const relay = await world.addServer({}, "apart");
  const talks = await Promise.all(Array.from({ length: count }, () => trial.talk({ url: relay.url, clientUrl })));
  await relay.redisProxy.setMode({ kind: "blackhole" });
  const asked = await Promise.all(
    talks.map(async (talk) => {
      const text = `Nobody rings for this, ${talk.conversationId}`;
      const submission = await trial.operation("a message", () =>
        talk.ask(say(text, { steps: [{ kind: "tokens", count: TOKENS }] })),
      );
      return { talk, text, runId: submission?.run.id ?? "", takenAt: performance.now() };
    }),
  );
  // Before it could put back what it could not ring.
  relay.process.signal("SIGKILL");
  await relay.process.exited;
  const early = asked.filter(({ text }) => requestsOf(world, text).length === 0).length;
  trial.fired(KILLED, early);
  await Promise.all(
    asked.map(({ talk, text, runId, takenAt }) =>
      trial.operation("an answer", async () => {
        await talk.when("the visitor's own message", (state) => state.messages.some(({ role }) => role === "user"));
        trial.measure(SEEN, performance.now() - takenAt);
        await talk.completed(runId);
        const texts = JSON.stringify(talk.texts(runId));
        trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `${runId} reads ${texts}`);
        trial.must(
          requestsOf(world, text).length === 1,
          `${runId} was executed ${requestsOf(world, text).length} times`,
        );
      }),
    ),
  );
  await trial.check(talks);
  await world.remove(relay);
}
