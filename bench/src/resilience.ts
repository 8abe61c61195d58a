/**
 * What trouble costs: a worker that dies, a run that is stopped, a tenant that queues thousands of runs, tables and
 * logs that have grown. Through real processes as in `main-job.ts`; the model runs in this process, which therefore
 * knows when it was hung up on.
 */
import { openServices } from "@agent-engine/core/services.ts";
import { startModelServer } from "@agent-engine/testing/model-server.ts";
import { NO_MODELS } from "@agent-engine/testing/tenants.ts";
import { pino } from "pino";
import { against, isMet, lower, type Figure } from "./figure.ts";
import { closeConnections } from "./http.ts";
import { report } from "./result.ts";
import { measureCancel, type Cancel } from "./resilience/cancel.ts";
import { measureFairness, type Fairness } from "./resilience/fairness.ts";
import { measureTakeover, type Takeover } from "./resilience/takeover.ts";
import { measureUpkeep, type Upkeep } from "./resilience/upkeep.ts";
import { startStack } from "./stack.ts";

const SIZES = {
  full: {
    kills: 40,
    cancels: 100,
    backlog: 12_000,
    newcomers: 20,
    finishedRuns: 100_000,
    events: 100_000,
    rounds: 300,
  },
  quick: { kills: 3, cancels: 10, backlog: 600, newcomers: 4, finishedRuns: 10_000, events: 10_000, rounds: 50 },
};

/** Few, so that a backlog gathers. */
const WORKER_CONCURRENCY = "16";

export async function resilience(size: keyof typeof SIZES): Promise<boolean> {
  const plan = SIZES[size];
  const model = await startModelServer({ tokens: 20 });
  const stack = await startStack(console.log, { modelUrl: model.url, workerEnv: { WORKER_CONCURRENCY } });
  const interrupted = (): void => void stack.stop().finally(() => process.exit(130));
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  const services = await openServices(
    { redisUrl: null, secretKeys: ["a-master-key-for-a-benchmark-only"], models: NO_MODELS },
    stack.databaseUrl,
    pino({ level: "silent" }),
  );
  try {
    const measure = async (): Promise<Measured> => {
      console.log(`cancel: ${plan.cancels} runs stopped beside ${plan.cancels} direct calls broken off …`);
      const cancel = await measureCancel(stack, model, plan.cancels);
      console.log(`take-over: ${plan.kills} workers killed …`);
      const takeover = await measureTakeover(stack, plan.kills);
      console.log(`upkeep: ${plan.finishedRuns} finished runs, a log of ${plan.events} events …`);
      const upkeep = await measureUpkeep(services, stack.databaseUrl, plan);
      console.log(`fairness: newcomers behind ${plan.backlog} runs of another tenant …`);
      const fairness = await measureFairness(stack, services, plan);
      return { cancel, takeover, upkeep, fairness };
    };
    const measured = await Promise.race([measure(), stack.broken]);
    const figures = figuresOf(measured);
    const problems = [measured.cancel, measured.takeover, measured.fairness].flatMap((each) => each.problems);
    const { databaseUrl } = stack;
    await report({
      benchmark: "resilience",
      size,
      databaseUrl,
      figures,
      baseline: "without trouble",
      details: measured,
      problems,
    });
    return problems.length === 0 && figures.every((figure) => figure.must === null || isMet(figure, figure.must));
  } finally {
    process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
    closeConnections();
    await services.close();
    await stack.stop();
    await model.stop();
  }
}

interface Measured {
  cancel: Cancel;
  takeover: Takeover;
  upkeep: Upkeep;
  fairness: Fairness;
}

function figuresOf({ cancel, takeover, upkeep, fairness }: Measured): Figure[] {
  return [
    { ...lower("kill -9 to the next token, p50", "ms"), value: takeover.nextToken.p50 },
    { ...lower("kill -9 to the next token, p99", "ms", 5_000), value: takeover.nextToken.p99 },
    { ...lower("cancel to silence, p50", "ms"), ...against(cancel.silence.p50, cancel.direct.p50) },
    { ...lower("cancel to silence, p99", "ms", 300), ...against(cancel.silence.p99, cancel.direct.p99) },
    { ...lower("runs queued by another tenant", ""), value: fairness.backlog },
    {
      ...lower("a newcomer's first token behind them, p50", "ms"),
      ...against(fairness.behind.p50, fairness.alone.p50),
    },
    {
      ...lower("a newcomer's first token behind them, max", "ms"),
      ...against(fairness.behind.max, fairness.alone.max),
    },
    { ...lower("runs that begin before a newcomer's, max", "", 3), value: fairness.overtakenBy.max },
    {
      ...lower(`sweep and dispatch, ${upkeep.finishedRuns} finished runs, p50`, "ms"),
      ...against(upkeep.sweepFull.p50, upkeep.sweepEmpty.p50),
    },
    {
      ...lower(`append to a log of ${upkeep.events} events, p50`, "ms"),
      ...against(upkeep.appendLong.p50, upkeep.appendShort.p50),
    },
  ];
}
