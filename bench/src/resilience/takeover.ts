import { isTerminal } from "@agent-engine/protocol/events.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { RunningProcess } from "@agent-engine/testing/processes.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import pg from "pg";
import { spread, type Spread } from "../statistics.ts";
import type { Stack } from "../stack.ts";
import { openVisitor, type Visitor } from "../visitor.ts";

export interface Takeover {
  kills: number;
  /** From `kill -9` of its worker to the arrival of a run's next token at its reader, in milliseconds. */
  nextToken: Spread;
  problems: string[];
}

const STREAMS = 8;
/** What was published before the kill arrives within this; a lease lasts longer. */
const IN_FLIGHT_MS = 500;

/** One run as its reader sees it. */
interface Stream {
  runId: string;
  /** When each piece of the answer arrived. */
  arrivals: number[];
  hasEnded: boolean;
}

/** Paced answers on two workers, one of which is killed; every run it held goes on at the other. */
export async function measureTakeover(stack: Stack, kills: number): Promise<Takeover> {
  const db = new pg.Client({ connectionString: stack.databaseUrl });
  await db.connect();
  const samples: number[] = [];
  const problems: string[] = [];
  try {
    for (let round = 0; round < kills; round++) {
      const alive = stack.workers.filter((worker) => worker.isRunning());
      if (alive.length < 2) await stack.addWorker();
      // One each: a socket follows so many conversations and no more.
      const visitor = await openVisitor(stack.endpoint);
      try {
        samples.push(...(await killOne(stack, db, visitor)));
      } catch (error) {
        problems.push(String(error));
      } finally {
        visitor.close();
      }
    }
  } finally {
    await db.end();
  }
  return { kills, nextToken: spread(samples), problems };
}

async function killOne(stack: Stack, db: pg.Client, visitor: Visitor): Promise<number[]> {
  const streams = await Promise.all(Array.from({ length: STREAMS }, () => startStream(visitor)));
  await waitFor(() => streams.every((stream) => stream.arrivals.length > 5), {
    describe: "every answer to flow",
    timeoutMs: 60_000,
  });
  const { victim, runIds } = await busiest(stack, db);
  const held = streams.filter((stream) => runIds.has(stream.runId));
  await stack.kill(victim);
  const killedMs = performance.now();
  const samples = await Promise.all(
    held.map(async (stream) => {
      const next = await waitFor(() => stream.arrivals.find((atMs) => atMs > killedMs + IN_FLIGHT_MS), {
        describe: "the next token after the kill",
        timeoutMs: 60_000,
      });
      return next - killedMs;
    }),
  );
  await Promise.all(streams.map((stream) => visitor.cancel(stream.runId)));
  await waitFor(() => streams.every((stream) => stream.hasEnded), { describe: "every run to end", timeoutMs: 60_000 });
  return samples;
}

async function startStream(visitor: Visitor): Promise<Stream> {
  const stream: Stream = { runId: "", arrivals: [], hasEnded: false };
  const assistant = new Set<string>();
  const conversation = await visitor.newConversation(({ event }) => {
    if (event.type === "TEXT_MESSAGE_START" && event.role === "assistant") assistant.add(event.messageId);
    else if (event.type === "TEXT_MESSAGE_CONTENT" && assistant.has(event.messageId)) {
      stream.arrivals.push(performance.now());
    } else if (isTerminal(event)) stream.hasEnded = true;
  });
  const question = say("Count.", { gapMs: 20, steps: [{ kind: "stamps", count: 5_000 }] });
  stream.runId = (await visitor.send(conversation, question)).run.id;
  return stream;
}

/** The worker that executes most runs, and which. Workers' rows and processes were started in the same order. */
async function busiest(stack: Stack, db: pg.Client): Promise<{ victim: RunningProcess; runIds: Set<string> }> {
  const { rows } = await db.query<{ rank: number; runs: string[] }>(`
    select (row_number() over (order by w.started_at) - 1)::int as rank,
      (select coalesce(array_agg(r.id::text), '{}') from runs r where r.worker_id = w.id and r.status = 'running') as runs
    from workers w where w.expires_at > now()`);
  const alive = stack.workers.filter((worker) => worker.isRunning());
  const most = rows.toSorted((a, b) => b.runs.length - a.runs.length)[0];
  const victim = most && alive[most.rank];
  if (!victim || rows.length !== alive.length) throw new Error(`${rows.length} heartbeats of ${alive.length} workers`);
  return { victim, runIds: new Set(most.runs.map((id) => `run_${id.replaceAll("-", "")}`)) };
}
