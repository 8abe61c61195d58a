/**
 * 8: readers that take 1 KB/s of conversations that grow by megabytes, each of its own, so that nothing they are sent is
 * shared. What it costs the server, and those who read beside them, is compared with the same load on readers that keep
 * up. Once the slow ones are fast again they have everything. The server is one of its own.
 */
import { setTimeout as delay } from "node:timers/promises";
import { lastUserTurn } from "@agent-engine/testing/chat-request.ts";
import { startFaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { inspectorPlace, openHeldMemory, type HeldMemory } from "@agent-engine/testing/held-memory.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { preciseNowMs, readStamps } from "@agent-engine/testing/stamps.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { quantile } from "../quantile.ts";
import type { Talk } from "../talk.ts";
import type { World, WorldServer } from "../world.ts";

const SLOW = "readers that fall behind";
const GROWTH = "memory held per slow reader";
const OTHERS = "others' p95, times that beside fast readers";
const BYTES_PER_SECOND = 1_024;
const READERS = { quick: 2, full: 12 };
const DELTA_BYTES = 16_000;
/** 8 MB in the full form, more than the kernel takes for a socket. */
const DELTAS = { quick: 150, full: 500 };
const DELTA_GAP_MS = 10;
/** So long they stay slow in the full form: longer than a socket may leave a ping unanswered. */
const SLOW_MS = 60_000;
const NEIGHBOURS = 4;
const STAMPS = 60;
const STAMP_GAP_MS = 25;
const SAMPLE_MS = 1_000;
const BYTES_PER_MB = 2 ** 20;
const MARKER = "Grow by megabytes";

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
    const delta = { kind: "delta" as const, content: "x".repeat(DELTA_BYTES) };
    const script = { gapMs: DELTA_GAP_MS, steps: Array.from({ length: DELTAS[trial.form] }, () => delta) };
    world.model.setScript(({ messages }) => (lastUserTurn(messages).text.startsWith(MARKER) ? script : null));
    try {
      for (let round = 0; round < trial.rounds; round++) {
        const inspector = await inspectorPlace();
        const server = await world.addServer(inspector.env, "apart");
        const memory = await openHeldMemory(inspector);
        await readSlowly(world, trial, server, memory).finally(async () => {
          memory.close();
          await world.remove(server);
        });
      }
    } finally {
      world.model.setScript(null);
    }
  },
};

async function readSlowly(world: World, trial: Trial, server: WorldServer, memory: HeldMemory): Promise<void> {
  if (trial.form === "quick") {
    await grow(world, trial, server, { memory, isSlow: true });
    return;
  }
  const fast = await grow(world, trial, server, { memory, isSlow: false });
  const slow = await grow(world, trial, server, { memory, isSlow: true });
  trial.measure(GROWTH, Math.max(0, slow.heldMb - fast.heldMb) / READERS[trial.form]);
  trial.measure(OTHERS, slow.othersMs / fast.othersMs);
}

interface Cost {
  /** What the server held once the answers were written, at most; garbage is not counted. */
  heldMb: number;
  /** p95 from a token's writing to a neighbour's screen. */
  othersMs: number;
}

async function grow(
  world: World,
  trial: Trial,
  server: WorldServer,
  { memory, isSlow }: { memory: HeldMemory; isSlow: boolean },
): Promise<Cost> {
  const proxy = await startFaultProxy({ target: { port: server.port } });
  const clientUrl = `http://127.0.0.1:${proxy.port}`;
  try {
    const count = READERS[trial.form];
    const talks = await Promise.all(
      Array.from({ length: count }, () => trial.talk({ url: server.url, clientUrl, hasFreshConnections: true })),
    );
    const others = await Promise.all(Array.from({ length: NEIGHBOURS }, () => trial.talk({ url: server.url })));
    if (isSlow) await proxy.setMode({ kind: "throttle", bytesPerSecond: BYTES_PER_SECOND });
    const growing = Promise.all(talks.map((talk) => trial.operation("a long answer", () => answered(world, talk))));
    const beside = watchOthers(trial, others, growing);
    await growing;
    const othersMs = quantile(await beside, 0.95);
    let heldMb = 0;
    if (isSlow) {
      if (trial.form === "full") heldMb = await mostHeld(memory, SLOW_MS);
      const behind = await Promise.all(talks.map(async (talk) => talk.state().lastSeq < (await headOf(world, talk))));
      if (behind.every(Boolean)) trial.fired(SLOW);
    }
    await proxy.setMode({ kind: "pass" });
    await Promise.all(
      talks.map((talk) =>
        trial.operation("a slow reader that is fast again", async () => {
          const head = await headOf(world, talk);
          await talk.when("the log's end", ({ lastSeq }) => lastSeq === head);
        }),
      ),
    );
    if (!isSlow) heldMb = await mostHeld(memory, 0);
    await trial.check([...talks, ...others]);
    return { heldMb, othersMs };
  } finally {
    await proxy.stop();
  }
}

/** Whoever asked does not see it in time: the database says when the run has ended. */
async function answered(world: World, talk: Talk): Promise<void> {
  const { run } = await talk.ask(`${MARKER}, ${talk.conversationId}`);
  const isCompleted = async () => {
    const { rows } = await world.db.query<{ status: string }>("select status from runs where id = $1", [
      run.id.slice(4),
    ]);
    return rows[0]?.status === "completed";
  };
  await waitFor(isCompleted, { describe: `${run.id} to be completed`, timeoutMs: 120_000, intervalMs: 100 });
}

async function headOf(world: World, { conversationId }: Talk): Promise<number> {
  const { rows } = await world.db.query<{ seq: number }>(
    "select last_seq::int as seq from conversation_heads where conversation_id = $1",
    [conversationId.slice(5)],
  );
  return rows[0]?.seq ?? 0;
}

/** Neighbours ask for one answer after the other for as long as that takes. Resolves with each token's way, in milliseconds. */
async function watchOthers(trial: Trial, talks: readonly Talk[], until: Promise<unknown>): Promise<number[]> {
  const ways: number[] = [];
  let isOver = false;
  const over = until.finally(() => (isOver = true));
  await Promise.all(
    talks.map(async (talk) => {
      do {
        await trial.operation("a neighbour's answer", async () => {
          const { run } = await talk.ask(
            say("Count", { gapMs: STAMP_GAP_MS, steps: [{ kind: "stamps", count: STAMPS }] }),
          );
          let read = 0;
          const stop = talk.client.subscribe(() => {
            const now = preciseNowMs();
            const stamps = readStamps(talk.texts(run.id)[0] ?? "").slice(read);
            read += stamps.length;
            for (const { atMs } of stamps) ways.push(now - atMs);
          });
          await talk.completed(run.id).finally(stop);
        });
      } while (!isOver);
    }),
  );
  await over;
  return ways;
}

/** In so many milliseconds, in megabytes. Looks once a second: to collect everything takes the server a twentieth of that. */
async function mostHeld(memory: HeldMemory, forMs: number): Promise<number> {
  const until = performance.now() + forMs;
  let most = await memory.held();
  while (performance.now() < until) {
    await delay(SAMPLE_MS);
    most = Math.max(most, await memory.held());
  }
  return most / BYTES_PER_MB;
}
