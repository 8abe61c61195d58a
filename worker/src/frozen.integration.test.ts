/**
 * A worker that stands still past its lease and then goes on, at the worst moments: another one has taken its run over
 * meanwhile. (With real processes and signals: `npm run chaos`.)
 */
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createAgentConfigReader } from "@agent-engine/core/agents/get-agent-config.ts";
import type { Database } from "@agent-engine/core/db/database.ts";
import { createAppender } from "@agent-engine/core/events/appender.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { sweepOnce } from "@agent-engine/core/queue/dispatcher.ts";
import { claimRun } from "@agent-engine/core/runs/claim-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { registerWorker } from "@agent-engine/core/workers/worker-registry.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { executeRun } from "./execute-run.ts";
import { startMortalWorker } from "./mortal-worker-fixture.ts";
import { calls, says, startProduct, type Product } from "./product-fixture.ts";
import { openWorld } from "./world.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

type Moment = "before" | "after";

/** Stands still right before a statement is sent, or once it is done, until `thaw`. */
function freezingDatabase(db: Database, at: string, moment: Moment) {
  const frozen = Promise.withResolvers<void>();
  const thawed = Promise.withResolvers<void>();
  let isOver = false;
  const pass = async (name: string, when: Moment): Promise<void> => {
    if (name !== at || when !== moment || isOver) return;
    isOver = true;
    frozen.resolve();
    await thawed.promise;
  };
  const through = async <T>(name: string, send: () => Promise<T>): Promise<T> => {
    await pass(name, "before");
    const answer = await send();
    await pass(name, "after");
    return answer;
  };
  const connect = async (): Promise<pg.PoolClient> => {
    const client = await db.connect();
    let last = "";
    const query = async (sent: string | { name: string }) => {
      if (typeof sent === "object") last = sent.name;
      // A statement of a transaction is done once it is committed.
      if (sent === "commit") {
        const answer = await client.query(sent);
        await pass(last, "after");
        return answer;
      }
      if (typeof sent === "object") await pass(sent.name, "before");
      return client.query(sent as string);
    };
    return { query, release: (error?: boolean) => client.release(error) } as unknown as pg.PoolClient;
  };
  const own: Database = {
    ...db,
    connect,
    query: (statement, values) => through(statement.name, () => db.query(statement, values)),
  };
  return { db: own, frozen: frozen.promise, thaw: thawed.resolve };
}

/** Claims the run and freezes there; its heartbeat runs out, and the run is rung for again. */
async function freeze(runId: string, at: string, moment: Moment) {
  const { services } = product;
  const { rows } = await product.db.query("select hand_over from runs where id = $1", [uuidOf(runId)]);
  const lease = await registerWorker(services, { slots: 1, active: () => 1 });
  const claim = await claimRun(services, { runId, handOver: rows[0].hand_over, correlationId: "test" }, lease.uuid);
  if (!claim || claim.kind === "suspect") throw new Error("the run was not to be claimed");
  const { db, frozen, thaw } = freezingDatabase(services.db, at, moment);
  const own = { ...services, db };
  const world = openWorld(own, { nodeEnv: "test" }, { stall: product.stall });
  const deps = {
    services: own,
    appender: createAppender(own),
    lease,
    agentOf: createAgentConfigReader(services),
    ...world,
    retryPolicy: product.retryPolicy,
  };
  const executed = executeRun(deps, claim, new AbortController());
  await frozen;
  await lease.stop();
  await product.db.query("insert into workers (id, slots, expires_at) values ($1, 1, now() - interval '1 second')", [
    lease.uuid,
  ]);
  await sweepOnce(services);
  return {
    /** Goes on; resolves when the run is out of its hands. */
    async thaw() {
      thaw();
      await executed;
      await world.close();
    },
  };
}

const facts = async (conversationId: string) => ({
  ledger: product.tools.ledger.length,
  log: (
    await product.db.query("select last_seq from conversation_heads where conversation_id = $1", [
      uuidOf(conversationId),
    ])
  ).rows,
  invocations: (await product.db.query("select status, attempts from tool_invocations order by idempotency_key")).rows,
});

describe("a frozen worker that goes on writes nothing and calls no tool", () => {
  test.each<[string, Moment, "set" | "send", "completed" | "waiting", number]>([
    ["steps_close", "after", "send", "completed", 1],
    ["invocation_begin", "before", "send", "completed", 1],
    ["invocation_begin", "before", "set", "completed", 1],
    // It was about to send: nobody else can know that it did not.
    ["invocation_begin", "after", "send", "waiting", 0],
    ["invocation_begin", "after", "set", "completed", 1],
    ["invocation_finish", "before", "set", "completed", 2],
    ["end_run", "before", "set", "completed", 1],
  ])("%s, %s it is done, of %s", async (at, moment, name, status, made) => {
    const chat = await product.chat();
    const before = product.tools.ledger.length;
    const { id } = await chat.ask(
      say("Please", { steps: [calls(name, `${at} ${moment}`)] }, { steps: [says("Here you are.")] }),
    );
    const zombie = await freeze(id, at, moment);
    await (
      await startMortalWorker(product, id)
    )?.ended;
    expect(await getRun(chat.staff, id)).toMatchObject({ status });
    expect(product.tools.ledger.length - before).toBe(made);
    const left = await facts(chat.conversationId);
    await zombie.thaw();
    expect(await facts(chat.conversationId)).toEqual(left);
    if (status === "completed") expect(await chat.texts()).toEqual(["Here you are."]);
  });

  test("nor takes back what its successor said, when it froze in the middle of a sentence", async () => {
    const chat = await product.chat();
    const { id } = await chat.ask(say("Tell", { gapMs: 5, steps: [{ kind: "tokens", count: 20 }] }));
    const zombie = await freeze(id, "append_events", "before");
    await (
      await startMortalWorker(product, id)
    )?.ended;
    const left = await facts(chat.conversationId);
    await zombie.thaw();
    expect(await facts(chat.conversationId)).toEqual(left);
    expect(await getRun(chat.staff, id)).toMatchObject({ status: "completed", attempt: 2 });
  });
});
