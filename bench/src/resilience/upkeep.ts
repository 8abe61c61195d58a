import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { inTenant } from "@agent-engine/core/db/transaction.ts";
import { appendInTransaction } from "@agent-engine/core/events/append-in-transaction.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { sweepOnce } from "@agent-engine/core/queue/dispatcher.ts";
import { pickRuns } from "@agent-engine/core/queue/pick-runs.ts";
import { QUEUE_CLASSES } from "@agent-engine/core/queue/run-queue.ts";
import { createTestTenant, type TestTenant } from "@agent-engine/testing/tenants.ts";
import pg from "pg";
import { spread, type Spread } from "../statistics.ts";

/** What must not grow with what has piled up, in milliseconds: each beside itself on an empty table or log. */
export interface Upkeep {
  finishedRuns: number;
  sweepEmpty: Spread;
  sweepFull: Spread;
  events: number;
  appendShort: Spread;
  appendLong: Spread;
}

export async function measureUpkeep(
  services: Services,
  ownerUrl: string,
  size: { finishedRuns: number; events: number; rounds: number },
): Promise<Upkeep> {
  const owner = new pg.Client({ connectionString: ownerUrl });
  await owner.connect();
  try {
    const tenant = await createTestTenant(services);
    const append = await measureAppend(services, owner, tenant, size);
    const sweepEmpty = await timeSweeps(services, size.rounds);
    await insertFinishedRuns(owner, tenant, await newConversation(tenant), size.finishedRuns);
    const sweepFull = await timeSweeps(services, size.rounds);
    return { finishedRuns: size.finishedRuns, events: size.events, sweepEmpty, sweepFull, ...append };
  } finally {
    await owner.end();
  }
}

async function newConversation({ ctx, agentId }: TestTenant): Promise<string> {
  return (await createConversation(ctx, { agentId })).id;
}

/** One look of sweeper and dispatcher over everything. The first ones only warm up. */
async function timeSweeps(services: Services, rounds: number): Promise<Spread> {
  const samples: number[] = [];
  const workerUuid = uuidOf(services.newId("worker"));
  for (let round = 0; round < rounds + 10; round++) {
    const startedMs = performance.now();
    await sweepOnce(services);
    for (const queueClass of QUEUE_CLASSES) await pickRuns(services, { workerUuid, queueClass, places: 64 });
    if (round >= 10) samples.push(performance.now() - startedMs);
  }
  return spread(samples);
}

async function insertFinishedRuns(
  owner: pg.Client,
  { id, agentId }: TestTenant,
  conversationId: string,
  count: number,
): Promise<void> {
  await owner.query(
    `with made as (
       insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id, first_seq, status, finished_at)
       select gen_random_uuid(), $1, $2, $3, 1, case when n % 2 = 0 then 'priority' else 'standard' end, 'bench', n, 'completed', now()
       from generate_series(1, $4) n returning id, queue_class
     )
     insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id)
     select id, 1, $1, queue_class, 'done', 'bench' from made`,
    [uuidOf(id), uuidOf(conversationId), uuidOf(agentId), count],
  );
  await owner.query("vacuum analyze runs, jobs");
}

/** Single appends, committed one by one, alternating between a short and a very long conversation. */
async function measureAppend(
  services: Services,
  owner: pg.Client,
  tenant: TestTenant,
  { events, rounds }: { events: number; rounds: number },
): Promise<Pick<Upkeep, "appendShort" | "appendLong">> {
  const [short, long] = [await newConversation(tenant), await newConversation(tenant)];
  await owner.query(
    `insert into events (conversation_id, seq, tenant_id, audience, correlation_id, at, event)
     select $1, n, $2, 'all', 'bench', now(), '{"type":"CUSTOM","name":"conversation.mode","value":{"mode":"agent"}}'
     from generate_series(1, $3) n`,
    [uuidOf(long), uuidOf(tenant.id), events],
  );
  await owner.query("update conversation_heads set last_seq = $2 where conversation_id = $1", [uuidOf(long), events]);
  await owner.query("vacuum analyze events");
  const samples = { short: [] as number[], long: [] as number[] };
  for (let round = 0; round < rounds + 20; round++) {
    // Which of the two goes first alternates, so that neither always follows the other's commit.
    const order = round % 2 === 0 ? (["short", "long"] as const) : (["long", "short"] as const);
    for (const which of order) {
      const startedMs = performance.now();
      await inTenant(services.db, tenant.id, (tx) =>
        appendInTransaction(tenant.ctx, tx, {
          conversationId: which === "short" ? short : long,
          fence: null,
          events: [
            {
              event: { type: "CUSTOM", name: "conversation.mode", value: { mode: "agent" } },
              runId: null,
              audience: "all",
              correlationId: "bench",
            },
          ],
        }),
      );
      if (round >= 20) samples[which].push(performance.now() - startedMs);
    }
  }
  return { appendShort: spread(samples.short), appendLong: spread(samples.long) };
}
