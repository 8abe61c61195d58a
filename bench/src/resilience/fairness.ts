import type { Services } from "@agent-engine/core/context.ts";
import { createTestTenant } from "@agent-engine/testing/tenants.ts";
import type { Submission } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import pg from "pg";
import { concurrently } from "../concurrently.ts";
import { post } from "../http.ts";
import { spread, type Spread } from "../statistics.ts";
import type { Stack } from "../stack.ts";
import { openVisitor } from "../visitor.ts";

export interface Fairness {
  backlog: number;
  /** A newcomer's first token behind the backlog, and with nothing queued; milliseconds. */
  behind: Spread;
  alone: Spread;
  /** Runs of the other tenant that began between a newcomer's message and its beginning. */
  overtakenBy: Spread;
  problems: string[];
}

/** A run of the tenant that has too many of them takes about a second. */
const slow = say("Work.", {
  steps: [
    { kind: "wait", ms: 1_000 },
    { kind: "tokens", count: 1 },
  ],
});
const quick = say("Hello.", { steps: [{ kind: "tokens", count: 1 }] });

/** One tenant queues thousands of runs; visitors of others, whom nobody has seen before, come one by one. */
export async function measureFairness(
  stack: Stack,
  services: Services,
  { backlog, newcomers }: { backlog: number; newcomers: number },
): Promise<Fairness> {
  const db = new pg.Client({ connectionString: stack.databaseUrl });
  await db.connect();
  try {
    const alone = await comeOneByOne(stack, services, newcomers);
    const greedy = await createTestTenant(services);
    await concurrently(backlog, 32, () =>
      post<Submission>(
        `${stack.endpoint.apiUrl}/v1/runs`,
        { agentId: greedy.agentId, input: slow },
        { authorization: `Bearer ${greedy.secretKey}` },
      ),
    );
    const waiting = await countWaiting(db);
    const behind = await comeOneByOne(stack, services, newcomers);
    const stillWaiting = await countWaiting(db);
    const overtaken: number[] = [];
    for (const { runId } of behind) overtaken.push(await overtakers(db, runId));
    return {
      backlog: stillWaiting,
      behind: spread(behind.map(({ firstTokenMs }) => firstTokenMs)),
      alone: spread(alone.map(({ firstTokenMs }) => firstTokenMs)),
      overtakenBy: spread(overtaken),
      problems: stillWaiting < waiting / 2 ? [`the backlog ran out: ${waiting} before, ${stillWaiting} after`] : [],
    };
  } finally {
    await db.end();
  }
}

interface Newcomer {
  runId: string;
  firstTokenMs: number;
}

async function comeOneByOne(stack: Stack, services: Services, newcomers: number): Promise<Newcomer[]> {
  const seen: Newcomer[] = [];
  for (let index = 0; index < newcomers; index++) {
    const tenant = await createTestTenant(services);
    const endpoint = { ...stack.endpoint, publishableKey: tenant.publishableKey, origin: "https://shop.example" };
    const visitor = await openVisitor(endpoint);
    try {
      let runId = "";
      const conversation = await visitor.newConversation((envelope) => {
        runId = envelope.runId ?? runId;
      });
      const { firstTokenMs } = await visitor.ask(conversation, quick);
      seen.push({ runId, firstTokenMs });
    } finally {
      visitor.close();
    }
  }
  return seen;
}

async function countWaiting(db: pg.Client): Promise<number> {
  const { rows } = await db.query<{ n: number }>("select count(*)::int as n from runs where status = 'queued'");
  return rows[0]?.n ?? 0;
}

async function overtakers(db: pg.Client, runId: string): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from runs mine join runs other
       on other.tenant_id <> mine.tenant_id and other.started_at > mine.created_at and other.started_at < mine.started_at
     where mine.id = $1`,
    [runId.slice("run_".length)],
  );
  return rows[0]?.n ?? 0;
}
