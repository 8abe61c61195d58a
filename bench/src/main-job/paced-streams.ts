import { say } from "@agent-engine/testing/model-directive.ts";
import { readStamps, STAMP_LENGTH } from "@agent-engine/testing/stamps.ts";
import { concurrently, sleep } from "../concurrently.ts";
import { askModel } from "../direct-call.ts";
import { watchUsage, type Usage } from "../process-usage.ts";
import { round, spread, type Spread } from "../statistics.ts";
import type { Stack } from "../stack.ts";
import { openVisitor, type Answer, type OnDelta, type Visitor } from "../visitor.ts";

export interface StreamPlan {
  streams: number;
  /** The starts are spread evenly over this time. */
  startWithinMs: number;
  gapMs: number;
  tokensPerStream: number;
  /** The part of the time, counted from the first start, whose CPU is reported. */
  watch?: { fromMs: number; toMs: number };
}

export interface Streams {
  /** From a token's writing by the model to its arrival at the client, in milliseconds. */
  delivery: Spread;
  firstToken: Spread;
  failed: string[];
  tokensExpected: number;
  /** Tokens that arrived, each once and in order. */
  tokensDelivered: number;
  usage: Usage;
}

/** Many paced streams at once, whose tokens say when they were written. */
export async function measureStreams(stack: Stack, plan: StreamPlan): Promise<Streams> {
  const visitors: Visitor[] = [];
  try {
    const asks = await concurrently(plan.streams, 16, async (): Promise<Ask> => {
      const visitor = await openVisitor(stack.endpoint);
      visitors.push(visitor);
      const conversation = await visitor.newConversation();
      return (question, onDelta) => visitor.ask(conversation, question, onDelta);
    });
    return await collect(stack, plan, asks);
  } finally {
    for (const visitor of visitors) visitor.close();
  }
}

/** The same streams read from the model itself. */
export function measureDirectStreams(stack: Stack, plan: StreamPlan): Promise<Streams> {
  const ask: Ask = (question, onDelta) => askModel(stack.modelUrl, question, onDelta);
  return collect(
    stack,
    plan,
    Array.from({ length: plan.streams }, () => ask),
  );
}

type Ask = (question: string, onDelta: OnDelta) => Promise<Answer>;

async function collect(stack: Stack, plan: StreamPlan, asks: readonly Ask[]): Promise<Streams> {
  const { streams, tokensPerStream, gapMs } = plan;
  const question = say("Count.", { gapMs, steps: [{ kind: "stamps", count: tokensPerStream }] });
  const deliveries: number[] = [];
  const firstTokens: number[] = [];
  const failed: string[] = [];
  let tokensDelivered = 0;
  const watched = plan.watch ? watchBetween(stack, plan.watch) : null;
  const usage = watchUsage(stack.pids);
  const startedMs = performance.now();

  await Promise.all(
    asks.map(async (ask, index) => {
      const dueMs = startedMs + (index / streams) * plan.startWithinMs;
      await sleep(Math.max(0, dueMs - performance.now()));
      const tokens = tokenReader(deliveries);
      try {
        const answer = await ask(question, tokens.read);
        firstTokens.push(answer.firstTokenMs);
        const problem = tokens.problem();
        if (problem !== null) failed.push(problem);
      } catch (error) {
        failed.push(String(error));
      }
      tokensDelivered += tokens.count();
    }),
  );
  const used = usage();
  return {
    delivery: spread(deliveries),
    firstToken: spread(firstTokens),
    failed,
    tokensExpected: streams * tokensPerStream,
    tokensDelivered,
    usage: watched ? await watched : used,
  };
}

interface TokenReader {
  read: OnDelta;
  count(): number;
  /** What is wrong with the tokens so far: one is missing, repeated or out of order. */
  problem(): string | null;
}

/** Reads stamps however the deltas were merged or cut, and adds each token's delay to `deliveries`. */
function tokenReader(deliveries: number[]): TokenReader {
  let rest = "";
  let count = 0;
  let problem: string | null = null;
  return {
    count: () => count,
    problem: () => problem,
    read: (delta, atMs) => {
      rest += delta;
      const stamps = readStamps(rest);
      rest = rest.slice(stamps.length * STAMP_LENGTH);
      for (const stamp of stamps) {
        if (stamp.index === count) count++;
        else problem ??= `token ${stamp.index} where ${count} was due`;
        deliveries.push(round(atMs - stamp.atMs));
      }
    },
  };
}

async function watchBetween(stack: Stack, { fromMs, toMs }: { fromMs: number; toMs: number }): Promise<Usage> {
  await sleep(fromMs);
  const usage = watchUsage(stack.pids);
  await sleep(toMs - fromMs);
  return usage();
}
