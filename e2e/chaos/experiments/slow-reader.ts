/**
 * 8: readers that take 1 KB/s of a conversation that grows by megabytes. The server's memory stays bounded, others are
 * answered as before, and once the slow ones are fast again they have everything. The server is one of its own.
 */
import { readFileSync } from "node:fs";
import { startFaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { follow, type Reader } from "../../src/api-client.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { quantile } from "../quantile.ts";
import type { World, WorldServer } from "../world.ts";

const SLOW = "reader that falls behind";
const GROWTH = "server memory per slow reader";
const OTHERS = "others' p95, times that without slow readers";
const BYTES_PER_SECOND = 1_024;
const READERS = { quick: 4, full: 50 };
/** Beyond what the kernel takes for a socket. */
const DELTA_BYTES = 8_000;
const DELTAS = 1_000;
const NEIGHBOURS = 10;

export const slowReader: Experiment = {
  id: "8",
  title: "readers at 1 KB/s",
  target: "bounded memory; others' p95 ≤ 2×",
  rounds: { quick: 1, full: 5 },
  faults: [SLOW],
  disturbs: "nobody",
  figures: [
    { name: GROWTH, unit: "MB", limit: { quantile: 1, atMost: 2 } },
    { name: OTHERS, unit: "", limit: { quantile: 0.5, atMost: 2 } },
  ],
  async run(world, trial) {
    for (let round = 0; round < trial.rounds; round++) {
      const server = await world.addServer({}, "apart");
      await readSlowly(world, trial, server).finally(() => world.remove(server));
    }
  },
};

async function readSlowly(world: World, trial: Trial, server: WorldServer): Promise<void> {
  const talk = await trial.talk({ url: server.url });
  const proxy = await startFaultProxy({ target: { port: server.port } });
  const readers: Reader[] = [];
  try {
    const before = await neighbours(trial, server);
    for (let i = 0; i < READERS[trial.form]; i++) {
      readers.push(await follow(`http://127.0.0.1:${proxy.port}`, talk.visitor.token, talk.conversationId));
    }
    await proxy.setMode({ kind: "throttle", bytesPerSecond: BYTES_PER_SECOND });
    const memory = residentMb(server);
    const delta = { kind: "delta" as const, content: "x".repeat(DELTA_BYTES) };
    world.model.setScript(({ messages }) =>
      JSON.stringify(messages.at(-1)).includes(talk.conversationId)
        ? { gapMs: 1, steps: Array.from({ length: DELTAS }, () => delta) }
        : null,
    );
    await trial.operation("a long answer", async () => {
      const { run } = await talk.ask(`A very long one, ${talk.conversationId}`);
      const meanwhile = neighbours(trial, server);
      await talk.completed(run.id);
      trial.measure(OTHERS, (await meanwhile) / before);
    });
    const behind = readers.filter(({ state }) => state.lastSeq < talk.state().lastSeq).length;
    if (behind === readers.length) trial.fired(SLOW);
    trial.measure(GROWTH, Math.max(0, residentMb(server) - memory) / readers.length);
    await proxy.setMode({ kind: "pass" });
    await trial.operation("slow readers that are fast again", () =>
      waitFor(() => readers.every(({ state }) => state.lastSeq === talk.state().lastSeq), {
        describe: () => `${readers.map(({ state }) => state.lastSeq).join(", ")} to be ${talk.state().lastSeq}`,
        timeoutMs: 60_000,
        intervalMs: 50,
      }),
    );
    const whole = JSON.stringify(talk.state());
    trial.must(
      readers.every(({ state }) => JSON.stringify(state) === whole),
      "a slow reader has another state in the end",
    );
  } finally {
    world.model.setScript(null);
    for (const reader of readers) reader.close();
    await proxy.stop();
  }
  await trial.check([talk]);
}

/** Milliseconds: the p95 of short answers at that server. */
async function neighbours(trial: Trial, server: WorldServer): Promise<number> {
  const talks = await Promise.all(Array.from({ length: NEIGHBOURS }, () => trial.talk({ url: server.url })));
  const took = await Promise.all(
    talks.map(async (talk) => {
      const startedAt = performance.now();
      await trial.operation("a neighbour's answer", async () => {
        const { run } = await talk.ask(say("Hello", { gapMs: 20, steps: [{ kind: "tokens", count: 20 }] }));
        await talk.completed(run.id);
      });
      return performance.now() - startedAt;
    }),
  );
  await trial.check(talks);
  return quantile(took, 0.95);
}

function residentMb({ process }: WorldServer): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${process.pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) / 1_024;
}
