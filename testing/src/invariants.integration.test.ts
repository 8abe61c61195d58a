import { newId, uuidOf } from "@agent-engine/core/ids.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { activeRuns, storedEvents, violations } from "./invariants.ts";
import { createTestDatabase, type TestDatabase } from "./postgres.ts";
import type { LedgerEntry } from "./tool-server.ts";

let database: TestDatabase;
let db: pg.Client;
let conversationId: string;
let runId: string;
let messageId: string;

beforeAll(async () => {
  database = await createTestDatabase();
  db = new pg.Client({ connectionString: database.ownerUrl });
  await db.connect();
});
afterAll(async () => {
  await db.end();
  await database.drop();
});

/** One conversation as a healthy run leaves it. */
beforeEach(async () => {
  await db.query("truncate tenants cascade; truncate events, conversation_heads");
  conversationId = newId("conv");
  runId = newId("run");
  messageId = newId("msg");
  const [tenant, agent] = [uuidOf(newId("tenant")), uuidOf(newId("agent"))];
  const [conversation, run] = [uuidOf(conversationId), uuidOf(runId)];
  await db.query("insert into tenants (id, name) values ($1, 'Shop')", [tenant]);
  await db.query("insert into agents (id, tenant_id, name, draft) values ($1, $2, 'A', '{}')", [agent, tenant]);
  await db.query("insert into agent_versions (agent_id, version, tenant_id, config) values ($1, 1, $2, '{}')", [
    agent,
    tenant,
  ]);
  await db.query("insert into conversations (id, tenant_id, agent_id) values ($1, $2, $3)", [
    conversation,
    tenant,
    agent,
  ]);
  await db.query(
    `insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, status, correlation_id)
     values ($1, $2, $3, $4, 1, 'priority', 'completed', 'c')`,
    [run, tenant, conversation, agent],
  );
  await db.query(
    `insert into messages (id, tenant_id, conversation_id, run_id, client_message_id, role, text)
     values ($1, $2, $3, $4, 'm-1', 'user', 'hi')`,
    [uuidOf(messageId), tenant, conversation, run],
  );
  const events: ConversationEvent[] = [
    { type: "TEXT_MESSAGE_START", messageId, role: "user" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: "hi" },
    { type: "TEXT_MESSAGE_END", messageId },
    { type: "RUN_STARTED", threadId: conversationId, runId },
    { type: "RUN_FINISHED", threadId: conversationId, runId, outcome: { type: "success" } },
  ];
  for (const [index, event] of events.entries()) {
    await db.query(
      `insert into events (conversation_id, seq, tenant_id, run_id, epoch, audience, correlation_id, at, event)
       values ($1, $2, $3, $4, $5, 'all', 'c', now(), $6)`,
      [conversation, index + 1, tenant, run, index < 3 ? null : 1, JSON.stringify(event)],
    );
  }
  await db.query("insert into conversation_heads (conversation_id, tenant_id, last_seq, epoch) values ($1, $2, 5, 1)", [
    conversation,
    tenant,
  ]);
});

const acknowledged = () => [{ conversationId, clientMessageId: "m-1", messageId, runId }];
const call = (entry: Partial<LedgerEntry>): LedgerEntry => ({
  effect: "idempotent",
  method: "PUT",
  path: "/",
  key: "k",
  body: null,
  headers: {},
  outcome: "applied",
  fault: null,
  at: "",
  ...entry,
});

it("finds nothing wrong with a healthy conversation", async () => {
  const state = reduce(initialState, await storedEvents(db, conversationId));
  expect(
    await violations(db, {
      acknowledged: acknowledged(),
      ledger: [call({}), call({ outcome: "replayed" }), call({ key: "w", effect: "write" })],
      clients: [{ conversationId, reader: "all", state }],
    }),
  ).toEqual([]);
  expect(await activeRuns(db)).toBe(0);
});

it("looks only at the conversations it is told to, where others are at work", async () => {
  await db.query("delete from events where seq = 2");
  await db.query("update runs set status = 'running'");
  const other = [newId("conv")];
  expect(await violations(db, { conversations: other })).toEqual([]);
  expect(await activeRuns(db, other)).toBe(0);
  expect(await activeRuns(db, [conversationId])).toBe(1);
  expect((await violations(db, { conversations: [conversationId] })).map(({ invariant }) => invariant)).toEqual([
    "I1",
    "I4",
  ]);
});

it("I1: sees a gap and a head that is ahead", async () => {
  await db.query("delete from events where seq = 2");
  expect(await violations(db)).toMatchObject([{ invariant: "I1", subject: conversationId }]);
});

it("I2: misses an acknowledged message", async () => {
  await db.query("delete from messages");
  expect(await violations(db, { acknowledged: acknowledged() })).toMatchObject([
    { invariant: "I2", subject: messageId },
  ]);
});

it("I3: counts effects and calls by key, operators' retries allowed", async () => {
  const writes = [call({ key: "w", effect: "write" }), call({ key: "w", effect: "write", outcome: "none" })];
  expect(await violations(db, { ledger: [call({}), call({}), ...writes] })).toMatchObject([
    { invariant: "I3", subject: "k" },
    { invariant: "I3", subject: "w" },
  ]);
  expect(await violations(db, { ledger: writes, operatorRetries: { w: 1 } })).toEqual([]);
  expect(await violations(db, { ledger: [call({ key: null })] })).toMatchObject([{ invariant: "I3" }]);
});

it("I4: sees a run that still runs, and a log that ends otherwise than its row says", async () => {
  await db.query("update runs set status = 'failed'");
  expect(await violations(db)).toMatchObject([{ invariant: "I4", subject: runId }]);
  await db.query("update runs set status = 'running'");
  expect(await violations(db)).toMatchObject([{ invariant: "I4", detail: "still running" }]);
  expect(await activeRuns(db)).toBe(1);
});

it("I5: compares a client's state with the fold", async () => {
  const behind = reduce(initialState, (await storedEvents(db, conversationId)).slice(0, 3));
  expect(await violations(db, { clients: [{ conversationId, reader: "all", state: behind }] })).toMatchObject([
    { invariant: "I5", subject: conversationId, detail: "the client is at 3 of 5" },
  ]);
});

it("I6: sees an event of an earlier epoch after a later one", async () => {
  await db.query("update events set epoch = 2 where seq = 4");
  expect(await violations(db)).toMatchObject([{ invariant: "I6", subject: conversationId }]);
});
