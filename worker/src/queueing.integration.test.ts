/** Few places, many runs, a real worker and a real broker of either kind: who begins when, and what those who wait are told. */
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { startRun } from "@agent-engine/core/runs/start-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { violations } from "@agent-engine/testing/invariants.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { ask, startConversation } from "@agent-engine/testing/spine.ts";
import {
  createTestTenant,
  openTestServices,
  type TestServices,
  type TestTenant,
} from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "./main.ts";

const BACKLOG = 10_000;
/** A run of some 100 ms. */
const BRIEF = say("Hello", { gapMs: 20, steps: [{ kind: "tokens", count: 5 }] });
/** A run that outlasts every test. */
const ENDLESS = say("Hello", { gapMs: 100, steps: [{ kind: "tokens", count: 5_000 }] });

let redis: TestRedis;
let models: ModelServer;

beforeAll(async () => {
  redis = await startRedis();
  models = await startModelServer();
});
afterAll(async () => {
  await Promise.all([models.stop(), redis.stop()]);
});

describe.each([
  ["Redis", () => redis.url],
  ["Postgres", () => undefined],
])("with a broker on %s", (_name, redisUrl) => {
  let services: TestServices;
  let owner: pg.Pool;
  let worker: RunningWorker | null = null;
  let heavy: TestTenant;
  let newcomer: TestTenant;

  beforeEach(async () => {
    const url = redisUrl();
    services = await openTestServices({ ...(url ? { redisUrl: url } : {}), models: { openaiBaseUrl: models.url } });
    owner = new pg.Pool({ connectionString: services.ownerUrl, max: 2 });
    owner.on("error", () => {});
    const config = { knowledge: { enabled: false, maxResults: 5 } };
    [heavy, newcomer] = [await createTestTenant(services, config), await createTestTenant(services, config)];
  });
  afterEach(async () => {
    await worker?.stop({ drainMs: 100 });
    worker = null;
    await owner.end();
    await services.close();
  });

  const start = async (workerConcurrency: number, more: { backgroundConcurrency?: number } = {}) =>
    (worker = await startWorker({ services, config: { nodeEnv: "test", workerConcurrency, ...more } }));

  async function send(tenant: TestTenant, text: string): Promise<string> {
    return (await ask(tenant.ctx, await startConversation(tenant), text)).run.id;
  }

  async function statusOf(runId: string): Promise<string | undefined> {
    const { rows } = await owner.query<{ status: string }>("select status from runs where id = $1", [uuidOf(runId)]);
    return rows[0]?.status;
  }

  const started = (runId: string) =>
    waitFor(async () => !["queued", undefined].includes(await statusOf(runId)), {
      describe: `${runId} to start`,
      timeoutMs: 30_000,
    });

  /** Runs of the tenant that began while this one waited. */
  async function overtakenBy(tenant: TestTenant, runId: string): Promise<number> {
    const { rows } = await owner.query<{ n: number }>(
      `select count(*)::int as n from runs r, runs mine, jobs j where mine.id = $1 and r.tenant_id = $2 and j.run_id = mine.id and j.hand_over = 1
         and r.started_at > j.run_after and r.started_at < mine.started_at`,
      [uuidOf(runId), uuidOf(tenant.id)],
    );
    return rows[0]?.n ?? 0;
  }

  /** So many copies of a run that waits, each in a conversation of its own. */
  async function multiply(runId: string, copies: number): Promise<void> {
    await owner.query(
      `with model as (select r.*, j.queue_class as class from runs r join jobs j on j.run_id = r.id where r.id = $1),
        ids as (select gen_random_uuid() as conversation, gen_random_uuid() as run from generate_series(1, $2)),
        made as (
          insert into conversations (id, tenant_id, agent_id) select i.conversation, m.tenant_id, m.agent_id from ids i, model m returning id
        ), heads as (
          insert into conversation_heads (conversation_id, tenant_id, last_seq) select i.conversation, m.tenant_id, 3 from ids i, model m
        ), queued as (
          insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id)
            select i.run, m.tenant_id, i.conversation, m.agent_id, m.agent_version, m.class, 'copy' from ids i, model m returning id
        ), logged as (
          insert into events (conversation_id, seq, tenant_id, run_id, audience, correlation_id, at, event)
            select i.conversation, e.seq, e.tenant_id, i.run, e.audience, 'copy', e.at, e.event
            from ids i, model m join events e on e.conversation_id = m.conversation_id and e.seq <= 3
        )
        insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id)
          select i.run, 1, m.tenant_id, m.class, 'pending', 'copy' from ids i, model m`,
      [uuidOf(runId), copies],
    );
    await owner.query("analyze runs, jobs, events");
  }

  test("a tenant with 10,000 queued runs delays another's first run, and its next, by at most three", async () => {
    await multiply(await send(heavy, BRIEF), BACKLOG);
    await start(2);
    await waitFor(
      async () => (await owner.query("select 1 from runs where status = 'completed' limit 1")).rows.length > 0,
      {
        describe: "the backlog to be worked on",
      },
    );
    const conversationId = await startConversation(newcomer);
    const { run: first } = await ask(newcomer.ctx, conversationId, BRIEF);
    // Behind the first one of its own conversation, then behind everybody.
    const { run: second } = await ask(newcomer.ctx, conversationId, BRIEF);
    await started(first.id);
    await started(second.id);
    expect(await overtakenBy(heavy, first.id)).toBeLessThanOrEqual(3);
    expect(await overtakenBy(heavy, second.id)).toBeLessThanOrEqual(3);
  });

  test("nor does one that sends a hundred at once to idle workers: what the broker holds goes back in line", async () => {
    await start(2);
    const conversations = await Promise.all(Array.from({ length: 100 }, () => startConversation(heavy)));
    await Promise.all(conversations.map((conversationId) => ask(heavy.ctx, conversationId, BRIEF)));
    const first = await send(newcomer, BRIEF);
    await started(first);
    expect(await overtakenBy(heavy, first)).toBeLessThanOrEqual(3);
    // The others are told where they are, and all of them end.
    await waitFor(
      async () =>
        (await owner.query("select 1 from events where event->>'name' = 'run.queued' limit 1")).rows.length > 0,
      { describe: "those who wait to be told" },
    );
    await waitFor(
      async () => (await owner.query("select 1 from runs where status <> 'completed' limit 1")).rows.length === 0,
      {
        describe: "all to end",
        timeoutMs: 45_000,
      },
    );
    expect(await violations(owner)).toEqual([]);
  });

  test("background runs leave chat its places, however many wait", async () => {
    await start(2, { backgroundConcurrency: 1 });
    const runs = await Promise.all(
      Array.from({ length: 5 }, () =>
        startRun(heavy.ctx, { agentId: heavy.agentId, input: ENDLESS, queueClass: "standard" }),
      ),
    );
    await waitFor(() => worker?.activeRuns === 1, { describe: "one background run to start" });
    for (let i = 0; i < 3; i++) {
      const chat = await send(newcomer, BRIEF);
      await waitFor(async () => (await statusOf(chat)) === "completed", { describe: "chat to be answered" });
    }
    const statuses = await Promise.all(runs.map(({ run }) => statusOf(run.id)));
    expect(statuses.filter((status) => status === "running")).toHaveLength(1);
    const { rows } = await owner.query("select slots, background_slots, background_active from workers");
    expect(rows).toEqual([{ slots: 2, background_slots: 1, background_active: 1 }]);
  });

  test("a tenant's cap is never exceeded, and all its runs have their turn", async () => {
    await owner.query("update tenants set max_running = 2 where id = $1", [uuidOf(heavy.id)]);
    await start(8);
    const conversations = await Promise.all(Array.from({ length: 16 }, () => startConversation(heavy)));
    await Promise.all(conversations.map((conversationId) => ask(heavy.ctx, conversationId, BRIEF)));
    const free = await send(newcomer, BRIEF);
    await started(free);
    await waitFor(
      async () => (await owner.query("select 1 from runs where status <> 'completed' limit 1")).rows.length === 0,
      {
        describe: "all to end",
        timeoutMs: 30_000,
      },
    );
    const { rows } = await owner.query<{ type: string }>(
      `select event->>'type' as type from events
       where tenant_id = $1 and event->>'type' in ('RUN_STARTED', 'RUN_FINISHED') order by at, event->>'type'`,
      [uuidOf(heavy.id)],
    );
    let [running, most] = [0, 0];
    for (const { type } of rows) most = Math.max(most, (running += type === "RUN_STARTED" ? 1 : -1));
    expect([rows.length, most]).toEqual([32, 2]);
  });
});
