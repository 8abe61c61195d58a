import { against, higher, lower, overhead, type Figure } from "../figure.ts";
import type { ByProcess } from "../process-usage.ts";
import { round } from "../statistics.ts";
import type { Latency } from "./latency.ts";
import type { Streams } from "./paced-streams.ts";
import type { Throughput } from "./throughput.ts";

export interface Measured {
  idleMb: ByProcess | null;
  latency: Latency;
  throughput: Throughput;
  streams: Streams;
  directStreams: Streams;
  starts: Streams;
  directStarts: Streams;
  fewStreams: Streams;
}

/** The product's own processes and the services it uses: what a run costs, the load's own cost left out. */
const PRODUCT = ["server", "worker", "postgres", "redis"];

export function figuresOf(measured: Measured): Figure[] {
  const { latency, throughput, streams, directStreams, starts, directStarts, fewStreams, idleMb } = measured;
  const { direct, product } = latency;
  const firstTokenP50 = overhead(product.firstToken.p50, direct.firstToken.p50);
  const figures: Figure[] = [
    { ...lower("first token, overhead p50", "ms", 20, 10), ...firstTokenP50 },
    {
      ...lower("first token, overhead p95", "ms", 45, round(2 * firstTokenP50.value)),
      ...overhead(product.firstToken.p95, direct.firstToken.p95),
    },
    { ...lower("completion, overhead p50", "ms"), ...overhead(product.completion.p50, direct.completion.p50) },
    { ...lower("completion, overhead p95", "ms"), ...overhead(product.completion.p95, direct.completion.p95) },
    {
      ...higher("durable runs at 32 conversations", "1/s", 140, 210),
      ...against(throughput.runsPerSecond, throughput.directRunsPerSecond),
    },
    { ...higher("events delivered at 32 conversations", "1/s"), value: throughput.eventsPerSecond },
    {
      ...lower("delivery at 100 streams, p50", "ms", null, 3),
      ...against(streams.delivery.p50, directStreams.delivery.p50),
    },
    {
      ...lower("delivery at 100 streams, p99", "ms", 30, 14),
      ...against(streams.delivery.p99, directStreams.delivery.p99),
    },
    { ...lower("tokens lost at 100 streams", "", 0, 0), value: streams.tokensExpected - streams.tokensDelivered },
    { ...lower("1,000 starts in a second: failed", "", 0, 0), value: starts.failed.length },
    {
      ...lower("1,000 starts in a second: first token p50", "ms"),
      ...against(starts.firstToken.p50, directStarts.firstToken.p50),
    },
    {
      ...lower("1,000 starts in a second: first token p95", "ms", null, 2_000),
      ...against(starts.firstToken.p95, directStarts.firstToken.p95),
    },
  ];
  const [few, many] = [productCores(fewStreams), productCores(starts)];
  if (few !== null && many !== null) {
    figures.push({ ...lower("CPU, 1,000 streams of 10 tokens/s to 100", "×", null, 4), value: round(many / few) });
  }
  if (idleMb) {
    figures.push({
      ...lower("idle memory of server + worker", "MB", 300, 250),
      value: (idleMb["server"] ?? 0) + (idleMb["worker"] ?? 0),
    });
  }
  for (const name of PRODUCT) {
    const seconds = throughput.usage.cpu?.[name];
    if (seconds === undefined) continue;
    figures.push({
      ...lower(`CPU of ${name} for 1,000 runs`, "s"),
      value: round((seconds / throughput.runs) * 1_000),
    });
  }
  return figures;
}

function productCores({ usage }: Streams): number | null {
  const { cpu, seconds } = usage;
  return cpu && PRODUCT.reduce((sum, name) => sum + (cpu[name] ?? 0), 0) / seconds;
}
