/**
 * What Postgres knows of toolkits' health: the calls as they are stored, the circuits that workers tell of, the accounts.
 * Each statement is for some toolkits by name, and reads a bounded number of rows for each by an index.
 */
import type { ConnectionStatus } from "@agent-engine/protocol/toolkits.ts";
import { statement } from "../../db/statement.ts";
import type { Tx } from "../../db/transaction.ts";
import type { ToolkitKindName } from "../toolkit-kind.ts";

/** Of more calls the newest count. */
export const MAX_CALLS = 2_000;
/** Calls with failures that are looked through for the last failure and for what was said of rate limits. */
const MAX_FAILED_CALLS = 200;
/** Accounts of one status that are counted. */
const MAX_CONNECTIONS = 10_000;
const CIRCUITS = 20;

export interface NamedToolkit {
  /** Null: it is not installed. */
  id: string | null;
  kind: ToolkitKindName | null;
  name: string;
  title: string | null;
}

// Every name that calls have is found by one descent of the index each, however many calls there are.
const names = statement<NamedToolkit>(
  "health_names",
  `with recursive called (name) as (
     (select i.toolkit from tool_invocations i
      where i.tenant_id = $1 and i.toolkit > $2 and i.started_at is not null order by i.toolkit limit 1)
     union all
     select (select i.toolkit from tool_invocations i
       where i.tenant_id = $1 and i.toolkit > c.name and i.started_at is not null order by i.toolkit limit 1)
     from called c where c.name is not null
   ), listed as (
     select t.id, t.kind, t.name, t.title from toolkits t where t.tenant_id = $1 and t.deleted_at is null and t.name > $2
     union all
     select null, null, c.name, null from called c
     where not exists (select 1 from toolkits t where t.tenant_id = $1 and t.deleted_at is null and t.name = c.name)
       and exists (select 1 from tool_invocations i where i.tenant_id = $1 and i.toolkit = c.name
         and i.started_at >= now() - $4 * interval '1 second')
   )
   select id, kind, name, title from listed order by name limit $3`,
);

/** The tenant's installed toolkits, and whatever else was called in the window, by name; those after `after`. */
export function toolkitsAfter(
  tx: Tx,
  input: { tenant: string; after: string; limit: number; windowSeconds: number },
): Promise<NamedToolkit[]> {
  return tx.query(names, [input.tenant, input.after, input.limit, input.windowSeconds]);
}

export interface CallsRow {
  name: string;
  calls: number;
  succeeded: number;
  failed: number;
  under_way: number;
  p50: number | null;
  p95: number | null;
  /** Failed attempts by code. */
  failures: Record<string, number> | null;
  /** Of calls that are counted; null when there are as many as may be. */
  oldest: Date | null;
}

// Failed is a call whose last attempt did: it ended so, or waits for a person, or for its next attempt. What a person said
// of a call is not the other side's answer.
const calls = statement<CallsRow>(
  "health_calls",
  `select n.name, s.calls, s.succeeded, s.failed, s.under_way, s.p50, s.p95, s.failures,
     case when s.calls = $4 then s.oldest end as oldest
   from unnest($2::text[]) as n (name) cross join lateral (
     with made as materialized (
       select i.started_at, i.tried, i.status,
         coalesce((i.tried->-1->>'attempt')::int = i.attempts, false) as has_failed,
         coalesce(i.decision->>'kind', '') = 'done' as is_told,
         (i.tried->-1->>'code') as code, (i.tried->-1->>'ms')::float8 as failed_ms,
         extract(epoch from i.finished_at - i.started_at)::float8 * 1000 as ms
       from tool_invocations i
       where i.tenant_id = $1 and i.toolkit = n.name and i.started_at >= now() - $3 * interval '1 second'
       order by i.started_at desc limit $4
     ), judged as (
       select m.*, not has_failed and not is_told and status = 'succeeded' as has_succeeded from made m
     )
     select count(*)::int as calls, count(*) filter (where has_succeeded)::int as succeeded,
       count(*) filter (where has_failed)::int as failed,
       count(*) filter (where not has_failed and status = 'started')::int as under_way,
       round(percentile_disc(0.5) within group (order by case when has_succeeded then ms when has_failed and code = 'refused' then failed_ms end))::int as p50,
       round(percentile_disc(0.95) within group (order by case when has_succeeded then ms when has_failed and code = 'refused' then failed_ms end))::int as p95,
       min(started_at) as oldest,
       (select json_object_agg(f.code, f.times) from (
          select t->>'code' as code, count(*)::int as times from made, jsonb_array_elements(made.tried) t group by 1
        ) f) as failures
     from judged
   ) s`,
);

export function callsOf(
  tx: Tx,
  input: { tenant: string; names: string[]; windowSeconds: number },
): Promise<CallsRow[]> {
  return tx.query(calls, [input.tenant, input.names, input.windowSeconds, MAX_CALLS]);
}

export interface FailureRow {
  name: string;
  at: Date;
  tool: string;
  code: string;
  detail: string;
  request_id: string | null;
  retry_after_ms: number | null;
  /** How it stands with rate limits: the one that was said last, and until when the other side wants to be left alone. */
  limited_at: Date | null;
  limited_until: Date | null;
}

const lastFailures = statement<FailureRow>(
  "health_failures",
  `select n.name, s.* from unnest($2::text[]) as n (name) cross join lateral (
     with failed as materialized (
       select f.tool, t->>'code' as code, t->>'detail' as detail, t->>'requestId' as request_id,
         (t->>'retryAfterMs')::float8 as retry_after_ms, (t->>'at')::timestamptz(3) as at
       from (
         select i.tool, i.tried from tool_invocations i
         where i.tenant_id = $1 and i.toolkit = n.name and i.tried is not null and i.started_at >= now() - interval '1 day'
         order by i.started_at desc limit ${MAX_FAILED_CALLS}
       ) f, jsonb_array_elements(f.tried) t
     )
     select l.at, l.tool, l.code, l.detail, l.request_id, l.retry_after_ms,
       (select max(at) from failed where code = 'rate_limited' or retry_after_ms > 0) as limited_at,
       (select max(at + retry_after_ms * interval '1 millisecond') from failed) as limited_until
     from failed l order by l.at desc limit 1
   ) s`,
);

export function lastFailuresOf(tx: Tx, input: { tenant: string; names: string[] }): Promise<FailureRow[]> {
  return tx.query(lastFailures, [input.tenant, input.names]);
}

export interface CircuitRow {
  name: string;
  host: string;
  workers: number;
  since: Date;
  retry_at: Date;
  failures: number;
  code: string;
}

// Those of a worker that died are nobody's any more, and its row stays for a while.
const circuits = statement<CircuitRow>(
  "health_circuits",
  `select c.toolkit as name, c.host, count(*)::int as workers, min(c.since) as since, min(c.retry_at) as retry_at,
     max(c.failures) as failures, (array_agg(c.code order by c.retry_at desc))[1] as code
   from tool_circuits c join workers w on w.id = c.worker_id and w.expires_at > now()
   where c.tenant_id = $1 and c.toolkit = any($2::text[]) group by 1, 2 order by 1, 2 limit $3`,
);

export function openCircuitsOf(tx: Tx, input: { tenant: string; names: string[] }): Promise<CircuitRow[]> {
  return tx.query(circuits, [input.tenant, input.names, CIRCUITS * input.names.length]);
}

const connections = statement<{ toolkit_id: string; status: ConnectionStatus; number: number }>(
  "health_connections",
  `select t.id as toolkit_id, s.status, c.number from unnest($1::uuid[]) as t (id)
   cross join unnest(array['initiated', 'active', 'expired', 'failed', 'revoked']) as s (status)
   cross join lateral (select count(*)::int as number from (
     select 1 from connections c where c.toolkit_id = t.id and c.status = s.status and c.deleted_at is null limit ${MAX_CONNECTIONS}
   ) counted) c`,
);

export function connectionsOf(tx: Tx, toolkitUuids: string[]) {
  return tx.query(connections, [toolkitUuids]);
}

const clock = statement<{ now: Date }>("health_clock", "select now()::timestamptz(3) as now");

/** By whose clock all of this is. */
export async function databaseTime(tx: Tx): Promise<Date> {
  const [row] = await tx.query(clock, []);
  if (!row) throw new Error("the database does not know what time it is");
  return row.now;
}
