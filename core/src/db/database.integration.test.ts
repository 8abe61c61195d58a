import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSpine, openTenant, startConversation, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { listAgents } from "../agents/list-agents.ts";
import { getConversation } from "../conversations/get-conversation.ts";
import { registerWorker } from "../workers/worker-registry.ts";
import { statement } from "./statement.ts";
import { inTenant } from "./transaction.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
});
afterAll(() => spine.close());

test("connections that the server drops while they rest are replaced, and end nothing", async () => {
  const conversationId = await startConversation(tenant);
  await listAgents(tenant.ctx, { limit: 1, cursor: null });
  const { rows } = await spine.owner.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and usename = (select app from serving_roles)`,
  );
  expect(rows.length).toBeGreaterThan(1);
  await expect.poll(() => getConversation(tenant.ctx, conversationId).catch(() => null)).not.toBeNull();
  await expect.poll(() => listAgents(tenant.ctx, { limit: 1, cursor: null }).catch(() => null)).not.toBeNull();
});

describe("a transaction", () => {
  const fails = statement("test_fails", "select 1 / 0");
  const makesOne = statement("test_makes_one", "update agents set name = 'changed' where tenant_id = $1");

  test("that swallowed a failure is not taken for committed, and tells nobody that it was", async () => {
    let isTold = false;
    const swallowing = inTenant(spine.services.db, tenant.id, async (tx) => {
      tx.afterCommit(() => (isTold = true));
      await tx.query(makesOne, [tenant.id.slice(7)]);
      await tx.query(fails, []).catch(() => undefined);
    });
    await expect(swallowing).rejects.toThrow();
    expect(isTold).toBe(false);
    expect((await listAgents(tenant.ctx, { limit: 1, cursor: null })).items[0]?.name).toBe("Test agent");
  });

  test("that its process forgets, frozen or cut off, is ended by the server: its locks hold nobody up for long", async () => {
    const settings = async (setting: string) =>
      (await spine.services.db.pool.query<Record<string, string>>(`show ${setting}`)).rows[0]?.[setting];
    expect(await settings("idle_in_transaction_session_timeout")).toBe("10s");
    expect(await settings("statement_timeout")).toBe("30s");
    const orm = await spine.services.db.orm();
    const [row] = await orm.em.getConnection().execute("show idle_in_transaction_session_timeout");
    expect(row).toEqual({ idle_in_transaction_session_timeout: "10s" });
  });
});

test("a worker's heartbeat goes on while every connection of the pool is taken", async () => {
  const lease = await registerWorker(spine.services, { slots: 1, active: () => 0 });
  const { pool } = spine.services.db;
  const taken = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  try {
    const expiry = async () =>
      (await spine.owner.query<{ at: Date }>("select expires_at as at from workers where id = $1", [lease.uuid]))
        .rows[0]?.at;
    const before = await expiry();
    await waitFor(async () => Number(await expiry()) > Number(before), { describe: "the next heartbeat" });
  } finally {
    for (const client of taken) client.release();
  }
  await lease.stop();
});
