import { concurrently, sleep } from "../concurrently.ts";
import { askModel } from "../direct-call.ts";
import { watchUsage, type Usage } from "../process-usage.ts";
import { round, spread, type Spread } from "../statistics.ts";
import type { Stack } from "../stack.ts";
import { delivered, openVisitor, type Answer, type Visitor } from "../visitor.ts";

export interface Throughput {
  directRunsPerSecond: number;
  runsPerSecond: number;
  runs: number;
  failed: string[];
  /** Entries of the log that reached readers, a second: an event that stands for several counts as several. */
  eventsPerSecond: number;
  tokensPerSecond: number;
  pushesPerSecond: number;
  firstToken: Spread;
  completion: Spread;
  usage: Usage;
}

/** After so many messages a visitor opens a new conversation. */
const MESSAGES_PER_CONVERSATION = 10;
const TOKENS = 200;

interface Lane {
  visitor: Visitor;
  conversation: string;
  sent: number;
}

/** So many visitors, each sending its next message as soon as the answer before it is complete. */
export async function measureThroughput(stack: Stack, visitors: number, seconds: number): Promise<Throughput> {
  const directSeconds = seconds / 4;
  let directRuns = 0;
  const directLanes = Array.from({ length: visitors }, (_, index) => index);
  await loop(directLanes, directSeconds, async () => {
    await askModel(stack.modelUrl, "Question");
    return () => void directRuns++;
  });

  const lanes = await concurrently(visitors, 8, async (): Promise<Lane> => {
    const visitor = await openVisitor(stack.endpoint);
    return { visitor, conversation: await visitor.newConversation(), sent: 0 };
  });
  const answers: Answer[] = [];
  const failed: string[] = [];
  const before = { ...delivered };
  const usage = watchUsage(stack.pids);
  const atEnd = sleep(seconds * 1_000).then(() => ({ usage: usage(), delivered: { ...delivered } }));
  await loop(lanes, seconds, async (lane) => {
    try {
      if (lane.sent === MESSAGES_PER_CONVERSATION) {
        lane.conversation = await lane.visitor.newConversation();
        lane.sent = 0;
      }
      const answer = await lane.visitor.ask(lane.conversation, `Question ${lane.sent++}`);
      return () => void answers.push(answer);
    } catch (error) {
      failed.push(String(error));
      lane.sent = MESSAGES_PER_CONVERSATION;
      return () => {};
    }
  });
  const end = await atEnd;
  for (const { visitor } of lanes) visitor.close();
  const runs = answers.length;
  return {
    directRunsPerSecond: round(directRuns / directSeconds),
    runsPerSecond: round(runs / seconds),
    runs,
    failed,
    eventsPerSecond: round((end.delivered.events - before.events) / seconds),
    tokensPerSecond: round((runs * TOKENS) / seconds),
    pushesPerSecond: round((end.delivered.pushes - before.pushes) / seconds),
    firstToken: spread(answers.map((answer) => answer.firstTokenMs)),
    completion: spread(answers.map((answer) => answer.completionMs)),
    usage: end.usage,
  };
}

/** Repeats work in parallel lanes until the time is up; what ends later is awaited but not counted. */
async function loop<L>(lanes: readonly L[], seconds: number, work: (lane: L) => Promise<() => void>): Promise<void> {
  const endMs = performance.now() + seconds * 1_000;
  await Promise.all(
    lanes.map(async (lane) => {
      while (performance.now() < endMs) {
        const count = await work(lane);
        if (performance.now() < endMs) count();
      }
    }),
  );
}
