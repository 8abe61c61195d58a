/**
 * The main job, a visitor's message answered from the log, through real processes over real sockets: how much it adds
 * to calling the model directly, how much of it the machine can do, and whether anything gets lost.
 *
 * The client runs in this process: keep that in mind where figures are at the machine's limit, since on few cores it
 * takes its share (`details.cores` tells how much).
 */
import { sleep } from "./concurrently.ts";
import { closeConnections } from "./http.ts";
import { figuresOf, type Measured } from "./main-job/figures.ts";
import { measureLatency } from "./main-job/latency.ts";
import { measureDirectStreams, measureStreams, type StreamPlan } from "./main-job/paced-streams.ts";
import { measureThroughput } from "./main-job/throughput.ts";
import { coresUsed, residentMb, type ByProcess } from "./process-usage.ts";
import { report } from "./result.ts";
import { startStack, type Stack } from "./stack.ts";
import { openVisitor } from "./visitor.ts";

/** How much is measured; `quick` is for trying things out, its figures are not worth keeping. */
const SIZES = {
  full: { pairs: 100, throughputSeconds: 20, streamTokens: 500, burst: 1_000, burstTokens: 80, idleMs: 8_000 },
  quick: { pairs: 20, throughputSeconds: 4, streamTokens: 100, burst: 200, burstTokens: 30, idleMs: 1_000 },
};

/** With more of the machine than this taken by other programs, figures say little. */
const DISTURBED_CORES = 0.2;

export async function mainJob(size: keyof typeof SIZES): Promise<boolean> {
  const progress = (line: string): void => console.log(line);
  const stack = await startStack(progress);
  const interrupted = (): void => void stack.stop().finally(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  try {
    const measured = await Promise.race([measureAll(stack, SIZES[size], progress), stack.broken]);
    const figures = figuresOf(measured);
    const problems = [measured.throughput, measured.streams, measured.starts, measured.fewStreams].flatMap(
      ({ failed }) => failed,
    );
    const cores = coresByPhase(measured);
    await report({
      benchmark: "main-job",
      size,
      databaseUrl: stack.databaseUrl,
      figures,
      details: { ...measured, cores },
      problems,
    });
    console.log(`cores busy: ${JSON.stringify(cores)}`);
    const disturbance = Math.max(...Object.values(cores).map((cores) => cores?.["others"] ?? 0));
    if (disturbance > DISTURBED_CORES) {
      console.log(`Not to be trusted: other programs kept up to ${disturbance} cores busy meanwhile.`);
    }
    return problems.length === 0 && measured.streams.tokensDelivered === measured.streams.tokensExpected;
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    closeConnections();
    await stack.stop();
  }
}

async function measureAll(
  stack: Stack,
  size: (typeof SIZES)["full"],
  progress: (line: string) => void,
): Promise<Measured> {
  progress("waiting for the worker, then warming up …");
  await warmUp(stack);
  await sleep(size.idleMs);
  const idleMb = residentMb(stack.pids);

  progress(`latency: ${size.pairs} runs beside ${size.pairs} direct calls …`);
  const latency = await measureLatency(stack, size.pairs);

  progress(`throughput: 32 conversations for ${size.throughputSeconds} s …`);
  const throughput = await measureThroughput(stack, 32, size.throughputSeconds);

  const paced: StreamPlan = { streams: 100, startWithinMs: 1_000, gapMs: 20, tokensPerStream: size.streamTokens };
  progress(`streams: 100 at 50 tokens/s, ${size.streamTokens} tokens each …`);
  const directStreams = await measureDirectStreams(stack, paced);
  const streams = await measureStreams(stack, paced);

  const burst: StreamPlan = {
    streams: size.burst,
    startWithinMs: 1_000,
    gapMs: 100,
    tokensPerStream: size.burstTokens,
    watch: { fromMs: size.burstTokens * 40, toMs: size.burstTokens * 95 },
  };
  progress(`starts: ${size.burst} within a second, 10 tokens/s each …`);
  const directStarts = await measureDirectStreams(stack, { ...burst, tokensPerStream: 10 });
  const fewStreams = await measureStreams(stack, { ...burst, streams: size.burst / 10 });
  const starts = await measureStreams(stack, burst);
  return { idleMb, latency, throughput, streams, directStreams, starts, directStarts, fewStreams };
}

/** The first answer proves that every process is there; a few more let the compilers settle. */
async function warmUp(stack: Stack): Promise<void> {
  const visitor = await openVisitor(stack.endpoint);
  try {
    for (let run = 0; run < 20; run++) await visitor.ask(await visitor.newConversation(), "Are you there?");
  } finally {
    visitor.close();
  }
}

/** Which process was how busy in each part: what limits a figure is what is nearest to a whole core, or to all. */
function coresByPhase(measured: Measured): Record<string, ByProcess | null> {
  return {
    throughput: coresUsed(measured.throughput.usage),
    streams: coresUsed(measured.streams.usage),
    starts: coresUsed(measured.starts.usage),
  };
}
