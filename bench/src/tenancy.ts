/**
 * What it costs that every request belongs to one tenant of many: the key, the tenant's context and the limits of a
 * request beside the same work without them, and lists of a large tenant among a thousand.
 */
import { openServices } from "@agent-engine/core/services.ts";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { createTestTenant, NO_MODELS, type TestTenant } from "@agent-engine/testing/tenants.ts";
import pg from "pg";
import { pino } from "pino";
import { against, isMet, lower, overhead, type Figure } from "./figure.ts";
import { closeConnections, get } from "./http.ts";
import { report } from "./result.ts";
import { startStack, type Stack } from "./stack.ts";
import { spread, type Spread } from "./statistics.ts";

const SIZES = {
  full: { tenants: 1_000, conversations: 1_000_000, others: 1_000, requests: 2_000, pages: 400 },
  quick: { tenants: 50, conversations: 20_000, others: 100, requests: 200, pages: 50 },
};

const PAGE = 50;

interface Measured {
  /** One conversation by id: over HTTP with a secret key; the same row by a bare statement; an answer without work. */
  request: Spread;
  statement: Spread;
  answer: Spread;
  /** 50 conversations at random places of the large tenant's list, and the same rows by a bare statement. */
  list: Spread;
  listStatement: Spread;
  plan: string[];
}

export async function tenancy(size: keyof typeof SIZES): Promise<boolean> {
  const stack = await startStack(console.log);
  const services = await openServices(
    { redisUrl: null, secretKeys: ["a-master-key-for-a-benchmark-only"], models: NO_MODELS },
    stack.databaseUrl,
    pino({ level: "silent" }),
  );
  const owner = new pg.Client({ connectionString: stack.databaseUrl });
  await owner.connect();
  try {
    const large = await createTestTenant(services);
    console.log(`seeding ${SIZES[size].conversations} conversations of one tenant among ${SIZES[size].tenants} …`);
    await seed(owner, large, SIZES[size]);
    const measured = await Promise.race([measureAll(stack, owner, large, SIZES[size]), stack.broken]);
    const figures = figuresOf(measured);
    await report({
      benchmark: "tenancy",
      size,
      databaseUrl: stack.databaseUrl,
      figures,
      baseline: "bare",
      details: measured,
      problems: [],
    });
    return figures.every((figure) => figure.must === null || isMet(figure, figure.must));
  } finally {
    closeConnections();
    await owner.end();
    await services.close();
    await stack.stop();
  }
}

/** The large tenant's conversations and a thousand each of the others, spread over the months as ids are over time. */
async function seed(
  owner: pg.Client,
  large: TestTenant,
  { tenants, conversations, others }: (typeof SIZES)["full"],
): Promise<void> {
  const agent = uuidOf(large.agentId);
  await owner.query(
    "insert into tenants (id, name) select gen_random_uuid(), 'Bench ' || n from generate_series(1, $1) n",
    [tenants],
  );
  const insert = (of: string, values: unknown[]) =>
    owner.query(
      `with made as (
         insert into conversations (id, tenant_id, agent_id) ${of} returning id, tenant_id
       ) insert into conversation_heads (conversation_id, tenant_id) select id, tenant_id from made`,
      values,
    );
  await insert("select uuidv7(), t.id, $1 from tenants t, generate_series(1, $2::int) where t.name like 'Bench %'", [
    agent,
    others,
  ]);
  await insert("select uuidv7(), $2, $1 from generate_series(1, $3::int)", [agent, uuidOf(large.id), conversations]);
  await owner.query("vacuum analyze conversations, conversation_heads, tenants");
}

const LIST = `select c.id, c.agent_id, c.visitor_id, c.mode, h.last_seq, c.created_at
  from conversations c join conversation_heads h on h.conversation_id = c.id
  where c.tenant_id = $1 and ($2::uuid is null or c.id < $2) order by c.id desc limit ${PAGE + 1}`;

async function measureAll(
  stack: Stack,
  owner: pg.Client,
  large: TestTenant,
  { requests, pages }: (typeof SIZES)["full"],
): Promise<Measured> {
  const { apiUrl } = stack.endpoint;
  const headers = { authorization: `Bearer ${large.secretKey}` };
  const { id } = await createConversation(large.ctx, { agentId: large.agentId });
  const samples = { request: [] as number[], statement: [] as number[], answer: [] as number[] };
  const warm = requests / 10;
  for (let round = -warm; round < requests; round++) {
    const answer = await timed(() => get(`${apiUrl}/healthz`));
    const statement = await timed(() =>
      owner.query({ name: "one", text: "select * from conversations where id = $1", values: [uuidOf(id)] }),
    );
    const request = await timed(() => get(`${apiUrl}/v1/conversations/${id}`, headers));
    if (round < 0) continue;
    samples.answer.push(answer);
    samples.statement.push(statement);
    samples.request.push(request);
  }

  const { rows } = await owner.query<{ id: string }>(
    "select id from conversations tablesample bernoulli (1) where tenant_id = $1 order by random() limit $2",
    [uuidOf(large.id), pages],
  );
  const list: number[] = [];
  const listStatement: number[] = [];
  for (const row of rows) {
    const cursor = `conv_${row.id.replaceAll("-", "")}`;
    listStatement.push(
      await timed(() => owner.query({ name: "list", text: LIST, values: [uuidOf(large.id), row.id] })),
    );
    list.push(await timed(() => get(`${apiUrl}/v1/conversations?limit=${PAGE}&cursor=${cursor}`, headers)));
  }
  const plan = await owner.query<{ "QUERY PLAN": string }>(`explain (analyze, costs off, timing off) ${LIST}`, [
    uuidOf(large.id),
    rows[0]?.id ?? null,
  ]);
  return {
    request: spread(samples.request),
    statement: spread(samples.statement),
    answer: spread(samples.answer),
    list: spread(list),
    listStatement: spread(listStatement),
    plan: plan.rows.map((line) => line["QUERY PLAN"]),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

function figuresOf({ request, statement, answer, list, listStatement }: Measured): Figure[] {
  return [
    {
      ...lower("key, tenant and limits of a request, p50", "ms"),
      ...overhead(request.p50, answer.p50 + statement.p50),
    },
    {
      ...lower("key, tenant and limits of a request, p95", "ms", 3),
      ...overhead(request.p95, answer.p95 + statement.p95),
    },
    { ...lower("a page of 50 of the large tenant, p50", "ms"), ...against(list.p50, listStatement.p50) },
    { ...lower("a page of 50 of the large tenant, p95", "ms", 50), ...against(list.p95, listStatement.p95) },
  ];
}
