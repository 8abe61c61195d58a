/** What must not grow with what has piled up: rows that the queue's statements touch, as Postgres counts them. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { addWorker, openSpine, openTenant, startConversation, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { uuidOf } from "../ids.ts";

const FINISHED = 100_000;
const WAITING = 10_000;

let spine: Spine;
let tenant: TestTenant;
let conversation: string;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  conversation = uuidOf(await startConversation(tenant));
  worker = await addWorker(spine, 100);
  await insertRuns(FINISHED, "completed", "done");
});
afterAll(() => spine.close());

async function insertRuns(count: number, status: string, state: string): Promise<void> {
  await spine.owner.query(
    `with made as (
       insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id, first_seq, status)
       select gen_random_uuid(), $1, $2, $3, 1, case when n % 2 = 0 then 'priority' else 'standard' end, 'cost', n, $5
       from generate_series(1, $4) n returning id, queue_class
     )
     insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id)
     select id, 1, $1, queue_class, $6, 'cost' from made`,
    [uuidOf(tenant.id), conversation, uuidOf(tenant.agentId), count, status, state],
  );
  await spine.owner.query("vacuum analyze runs, jobs");
}

interface Cost {
  /** Times a table was read from end to end. */
  whole: number;
  /** Rows of runs and jobs that were looked at. */
  rows: number;
}

/** What a statement costs as the serving role, with its plans. Nothing of it stays. */
async function touched(sql: string, values: unknown[] = []): Promise<Cost> {
  const client = await spine.services.db.pool.connect();
  const count = async (): Promise<Cost> => {
    const { rows } = await client.query<Cost>(
      `select sum(seq_scan)::int as whole, sum(seq_tup_read + idx_tup_fetch)::int as rows
       from pg_stat_xact_user_tables where relname in ('runs', 'jobs')`,
    );
    return rows[0]!;
  };
  try {
    await client.query(`begin; set local app.tenant_id = '${uuidOf(tenant.id)}'`);
    // What the connection did before may not be counted elsewhere yet.
    const before = await count();
    await client.query(sql, values);
    const after = await count();
    return { whole: after.whole - before.whole, rows: after.rows - before.rows };
  } finally {
    await client.query("rollback");
    client.release();
  }
}

const statements: [name: string, sql: string, values: () => unknown[]][] = [
  ["the sweeper", "select * from sweep_runs('10 seconds', 500)", () => []],
  ["a worker that picks", "select * from dispatch_jobs($1, 'priority', 64)", () => [worker]],
  ["a message that is handed over", "select first_job_state($1, 'priority')", () => [uuidOf(tenant.id)]],
  ["a run that ends", "select * from unblock_next($1)", () => [uuidOf("conv_00000000000000000000000000000000")]],
  ["who tells those who wait", "select queue_outlook('priority', 500, 200, 500)", () => []],
  ["a worker that looks for strays", "select * from runs_of_worker($1)", () => [worker]],
];

describe(`beside ${FINISHED} finished runs, where nothing waits`, () => {
  test.each(statements)("%s reads next to nothing", async (_name, sql, values) => {
    const cost = await touched(sql, values());
    expect(cost.whole).toBe(0);
    expect(cost.rows).toBeLessThanOrEqual(20);
  });

  test("the measure is one: reading a tenant's runs whole is seen", async () => {
    const cost = await touched("select count(correlation_id) from runs where tenant_id = $1", [uuidOf(tenant.id)]);
    expect(cost.rows).toBeGreaterThanOrEqual(FINISHED);
  });
});

describe(`with ${WAITING} more that wait`, () => {
  beforeAll(() => insertRuns(WAITING, "queued", "pending"));

  test.each(statements.filter(([name]) => !/tells/.test(name)))(
    "%s reads no more than it answers",
    async (_name, sql, values) => {
      const cost = await touched(sql, values());
      expect(cost.whole).toBe(0);
      expect(cost.rows).toBeLessThanOrEqual(500);
    },
  );

  test("who tells those who wait reads them, and not those that have ended", async () => {
    const cost = await touched("select queue_outlook('priority', 0, 200, 500)");
    expect(cost.whole).toBe(0);
    expect(cost.rows).toBeLessThanOrEqual(2 * WAITING);
  });

  test("and between two thorough looks only the first of them", async () => {
    await spine.owner.query("update queues set looked_at = '-infinity', looked_deep_at = now()");
    const cost = await touched("select queue_outlook('priority', 3600000, 200, 500)");
    expect(cost.rows).toBeLessThanOrEqual(2_000);
  });
});
