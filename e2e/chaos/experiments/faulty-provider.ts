/**
 * 10: a model provider that fails in twelve ways. Each time it has an address that nobody had before, so that what its
 * circuit counts is its own, and two kinds of runs: one whose first attempt fails, which must be completed with what it had said taken
 * back; and one whose every attempt fails, which must wait for an operator with the right code. The second kind takes
 * as long as all retries do, so the quick form has it for a few ways that are drawn.
 */
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { storedEvents } from "@agent-engine/testing/invariants.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { modelFaults } from "@agent-engine/testing/model-faults.ts";
import { numberedText, type ModelScript } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { getRun } from "../../src/api-client.ts";
import { atOnce } from "../at-once.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { requestsOf } from "../model-requests.ts";
import { startProxyElsewhere } from "../proxy-elsewhere.ts";
import { siteOf } from "../shop-agent.ts";
import type { Talk } from "../talk.ts";
import type { World } from "../world.ts";

interface Way {
  name: string;
  /** Null: nothing listens. */
  script: ModelScript | null;
  /** Its code in docs/runs.md. */
  code: string;
  /** Whether a part of the answer was said before. */
  isPartial: boolean;
  /** Whether it takes the longest silence to notice. */
  isSilent: boolean;
}

const way = (name: string, script: ModelScript | null, code: string, rest: Partial<Way> = {}): Way => ({
  name,
  script,
  code,
  isPartial: false,
  isSilent: false,
  ...rest,
});

const WAYS: readonly Way[] = [
  way("429", { steps: [{ kind: "status", status: 429 }] }, "rate_limited"),
  way("429 with Retry-After", modelFaults.rateLimited, "rate_limited"),
  way("500", modelFaults.serverError, "unavailable"),
  way("503", modelFaults.overloaded, "unavailable"),
  way("no answer", modelFaults.neverAnswers, "stalled", { isSilent: true }),
  way("cut stream", modelFaults.cutMidStream, "cut_off", { isPartial: true }),
  way("bad JSON", modelFaults.garbageJson, "garbage", { isPartial: true }),
  way("stall", modelFaults.stallMidStream, "stalled", { isPartial: true, isSilent: true }),
  way("refused connection", null, "connection_failed"),
  way("garbage in the stream", modelFaults.notSse, "cut_off", { isPartial: true }),
  way("empty answer", modelFaults.emptyStream, "cut_off"),
  way("error in the stream", modelFaults.errorInStream, "unavailable", { isPartial: true }),
];

const QUICK_EXHAUSTED = 3;
const AT_ONCE = 24;
const TOKENS = 8;
const GOOD: ModelScript = { steps: [{ kind: "tokens", count: TOKENS }] };

export const faultyProvider: Experiment = {
  id: "10",
  title: "provider faults, 12 ways",
  target: "partial text superseded, never duplicated; completed, or waiting with the right code",
  rounds: { quick: 1, full: 50 },
  faults: WAYS.map(({ name }) => name),
  disturbs: "nobody",
  async run(world, trial) {
    const { random } = trial;
    const all = Array.from({ length: trial.rounds }, () => {
      const soon = random.shuffled(WAYS.filter(({ isSilent }) => !isSilent)).slice(0, QUICK_EXHAUSTED);
      return WAYS.map((one) => ({ one, isExhausted: trial.form === "full" || soon.includes(one) }));
    }).flat();
    const used = new Set<number>();
    await atOnce(AT_ONCE, all, async ({ one, isExhausted }) => {
      // A worker remembers what failed at an address, and does not ask there for a while.
      const proxy = await startProxyElsewhere(world.model.port, used);
      await suffer(world, trial, one, { proxy, isExhausted }).finally(() => proxy.stop());
    });
  },
};

const modelAt = (port: number) => ({
  provider: "openai-compatible",
  name: "fake-model",
  settings: { baseUrl: `http://127.0.0.1:${port}/v1` },
});

async function suffer(
  world: World,
  trial: Trial,
  one: Way,
  { proxy, isExhausted }: { proxy: FaultProxy; isExhausted: boolean },
): Promise<void> {
  const keys = await siteOf(world, { name: one.name, model: modelAt(proxy.port), knowledge: { enabled: false } });
  const talk = await trial.talk({ keys });
  const done = await trial.operation(`${one.name}, once`, () => failOnce(world, trial, one, talk, proxy));
  await trial.check([talk]);
  // Failures that no success has ended would count for what follows.
  if (!done || !isExhausted) return;
  const other = await trial.talk({ keys });
  if (one.script === null) {
    await proxy.setMode({ kind: "refuse" });
    // A connection that was kept would still carry the next question.
    proxy.cut();
  }
  await trial.operation(`${one.name}, always`, () => failAlways(world, trial, one, other));
  await trial.check([other]);
}

async function failOnce(world: World, trial: Trial, one: Way, talk: Talk, proxy: FaultProxy): Promise<true> {
  const text = `Answer at the second try, ${talk.conversationId}`;
  if (one.script === null) await proxy.setMode({ kind: "refuse" });
  const { run } = await talk.ask(say(text, one.script === null ? GOOD : [one.script, GOOD]));
  if (one.script === null) {
    // The log says so before any client does, for whom a retry may be over at once.
    await waitFor(async () => retriesIn(await eventsOf(world, talk)) > 0, {
      describe: "a retry in the log",
      timeoutMs: 30_000,
    });
    await proxy.setMode({ kind: "pass" });
  }
  await talk.completed(run.id);
  const events = await eventsOf(world, talk);
  const retries = retriesIn(events);
  const asked = requestsOf(world, text).length;
  if (retries > 0 && asked === (one.script === null ? 1 : retries + 1)) trial.fired(one.name);
  const texts = JSON.stringify(talk.texts(run.id));
  trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `after ${one.name} the visitor reads ${texts}`);
  const superseded = events.some(
    (event) => event.type === "CUSTOM" && event.name === "run.superseded" && event.value.messageIds.length > 0,
  );
  trial.must(superseded || !one.isPartial, `after ${one.name} nothing was superseded`);
  return true;
}

async function eventsOf(world: World, talk: Talk): Promise<ConversationEvent[]> {
  return (await storedEvents(world.db, talk.conversationId)).map(({ event }) => event);
}

const retriesIn = (events: readonly ConversationEvent[]): number =>
  events.filter((event) => event.type === "CUSTOM" && event.name === "run.retrying").length;

async function failAlways(world: World, trial: Trial, one: Way, talk: Talk): Promise<void> {
  const { run } = await talk.ask(say("Never answer", one.script ?? GOOD));
  await talk.when("the run to wait", (state) => state.runs[run.id]?.status === "waiting", 120_000);
  const [interrupt] = (await getRun(world.staff(), run.id)).interrupts;
  const seen = JSON.stringify(interrupt);
  trial.must(
    interrupt?.reason === "operator" && interrupt.metadata?.["code"] === one.code,
    `after ${one.name} the run waits with ${seen}, not with ${one.code}`,
  );
  // What it had said and no longer stands is nowhere to be read.
  const texts = talk.texts(run.id);
  trial.must(texts.length <= 1, `after ${one.name} the visitor reads ${JSON.stringify(texts)}`);
}
