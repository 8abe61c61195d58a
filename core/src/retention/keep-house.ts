import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { idOf, newId } from "../ids.ts";
import { repeat, type Repeated } from "../repeat.ts";
import { continueErasure } from "../visitors/continue-erasure.ts";
import { VISITOR_TOKEN_RENEWAL_SECONDS, VISITOR_TOKEN_SECONDS } from "../visitors/visitor-token.ts";
import { purgeDeletedLogs } from "./purge-logs.ts";

const EVERY_MS = 30_000;
/** At most a tenth of the time, with one connection and portions of some milliseconds each: live traffic goes first. */
const WORK_MS = 3_000;
const PORTION = 1_000;
const TENANTS_AT_ONCE = 10;
const CONVERSATIONS_AT_ONCE = 200;
const ERASURES_AT_ONCE = 20;
/**
 * Anonymous visitors without a conversation are forgotten after that: no token of theirs can be renewed any more. A day
 * over, as it is noted to the day when they were seen.
 */
const UNSEEN_MS = (VISITOR_TOKEN_SECONDS + VISITOR_TOKEN_RENEWAL_SECONDS + 2 * 86_400) * 1_000;

const tryLock = statement<{ locked: boolean }>(
  "keep_house_lock",
  "select pg_try_advisory_xact_lock(hashtext('agent-engine:keep-house')) as locked",
);
const erasures = statement<{ tenant_id: string; visitor_id: string }>(
  "erasures_under_way",
  "select * from erasures_under_way($1)",
);
const candidates = statement<{ tenant_id: string; conversation_id: string; idle_since: Date }>(
  "conversations_past_retention",
  "select * from conversations_past_retention($1, $2)",
);
const deleteIdle = statement<{ deleted: boolean }>(
  "delete_idle_conversation",
  "select delete_idle_conversation($1, $2) as deleted",
);
const pruneBudgets = statement("prune_budgets", "select prune_budgets($1)");
const pruneLinks = statement("prune_links", "select prune_links($1)");
const pruneSchedules = statement("prune_schedules", "select prune_schedules($1)");
const pruneChallenges = statement("prune_challenges", "select prune_challenges($1)");
const pruneClientTools = statement("prune_client_tools", "select prune_client_tools($1)");
const pruneVisitors = statement<{ pruned: number }>("prune_visitors", "select prune_visitors($1, $2) as pruned");
const prune = statement<{ pruned: number }>("prune_visitor_records", "select prune_visitor_records($1) as pruned");

export interface Kept {
  /** Conversations deleted because nothing had happened in them for longer than their tenant keeps them. */
  deleted: number;
  /** Nothing was left to do. */
  isDone: boolean;
}

/**
 * What is done in the background, in all tenants, by one process at a time: erasures that were not finished, then
 * conversations past their tenant's retention, then the logs of whatever was deleted. Null when another process is at it.
 */
export async function keepHouse(services: Services, inTime: () => boolean): Promise<Kept | null> {
  const client = await services.db.connect();
  let isHeld = true;
  try {
    // Held by a transaction that does nothing else, and is over before the server ends it for that.
    await client.query("begin");
    const { rows } = await client.query<{ locked: boolean }>(tryLock);
    if (!rows[0]?.locked) return null;
    return await work(services, inTime);
  } finally {
    await client.query("rollback").catch(() => (isHeld = false));
    client.release(!isHeld);
  }
}

async function work(services: Services, inTime: () => boolean): Promise<Kept> {
  let deleted = 0;
  for (const { tenant_id, visitor_id } of await services.db.query(erasures, [ERASURES_AT_ONCE])) {
    const ctx = platformIn(services, tenant_id);
    if (!(await continueErasure(ctx, idOf("visitor", visitor_id), inTime))) return { deleted, isDone: false };
  }
  const found = await services.db.query(candidates, [TENANTS_AT_ONCE, CONVERSATIONS_AT_ONCE]);
  for (const row of found) {
    const tenantId = idOf("tenant", row.tenant_id);
    const [answer] = await inTenant(services.db, tenantId, (tx) =>
      tx.query(deleteIdle, [row.conversation_id, row.idle_since]),
    );
    if (answer?.deleted) deleted++;
    if (!inTime()) return { deleted, isDone: false };
  }
  const arePurged = await purgeDeletedLogs(services, PORTION, inTime);
  await services.db.query(prune, [PORTION]);
  await services.db.query(pruneBudgets, [PORTION]);
  await services.db.query(pruneChallenges, [PORTION]);
  await services.db.query(pruneVisitors, [new Date(services.clock() - UNSEEN_MS), PORTION]);
  await services.db.query(pruneSchedules, [PORTION]);
  await services.db.query(pruneLinks, [PORTION]);
  await services.db.query(pruneClientTools, [PORTION]);
  return { deleted, isDone: arePurged && deleted === 0 };
}

function platformIn(services: Services, tenant: string): Ctx {
  return {
    services,
    tenantId: idOf("tenant", tenant),
    actor: { kind: "worker" },
    correlationId: newId("req"),
  };
}

/** Does so again and again. */
export function watchHouse(services: Services): Repeated {
  let isStopping = false;
  const repeated = repeat(services.log, EVERY_MS, async () => {
    const deadline = performance.now() + WORK_MS;
    const kept = await keepHouse(services, () => !isStopping && performance.now() < deadline);
    if (kept && kept.deleted > 0) services.log.info(kept, "conversations past their retention deleted");
  });
  return {
    async stop() {
      isStopping = true;
      await repeated.stop();
    },
  };
}
