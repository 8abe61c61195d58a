/**
 * What must hold after every fault: checked over the database, the tool server's ledger and what clients saw.
 *
 *   I1  a conversation's `seq` is 1..n without gaps, and its head says n
 *   I2  every acknowledged message is there, once, with its run and its events
 *   I3  at most one effect per key for idempotent tools; at most one call for writes plus one per operator's retry
 *   I4  every run has ended or waits for a person, and its log ends as its row says
 *   I5  a client's state equals the fold of the log
 *   I6  no event from a stale epoch: in a conversation epochs never fall
 */
import { isDeepStrictEqual } from "node:util";
import { idOf, uuidOf } from "@agent-engine/core/ids.ts";
import { forAudience, type Audience, type StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import type pg from "pg";
import type { LedgerEntry } from "./tool-server.ts";

/** A connection or pool as the database's owner: row level security must not hide anything from the checks. */
export type Database = Pick<pg.Client, "query">;

export interface Violation {
  invariant: "I1" | "I2" | "I3" | "I4" | "I5" | "I6";
  /** The conversation, run or key concerned. */
  subject: string;
  detail: string;
}

/** A message that the API answered with 202. */
export interface Acknowledged {
  conversationId: string;
  clientMessageId: string;
  messageId: string;
  runId: string;
}

export interface ClientView {
  conversationId: string;
  reader: Audience;
  state: ConversationState;
}

export interface InvariantInput {
  /** Only these are looked at, for tests that share a database with others at work. Default: all. */
  conversations?: readonly string[];
  acknowledged?: readonly Acknowledged[];
  ledger?: readonly LedgerEntry[];
  /** Retries of a write that operators decided, by idempotency key. */
  operatorRetries?: Readonly<Record<string, number>>;
  clients?: readonly ClientView[];
}

/** Every violation of I1–I6; empty when all hold. Waiting until runs have settled (I4) is the caller's. */
export async function violations(db: Database, input: InvariantInput = {}): Promise<Violation[]> {
  await refuseBlindRole(db);
  const scope = input.conversations?.map(uuidOf) ?? null;
  return [
    ...(await gaps(db, scope)),
    ...(await lostWrites(db, input.acknowledged ?? [])),
    ...repeatedEffects(input.ledger ?? [], input.operatorRetries ?? {}),
    ...(await unsettledRuns(db, scope)),
    ...(await divergedClients(db, input.clients ?? [])),
    ...(await staleEpochs(db, scope)),
  ];
}

/** Runs that have neither ended nor wait for a person: wait for it to be 0 before checking. */
export async function activeRuns(db: Database, conversations?: readonly string[]): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from runs
     where status in ('queued', 'running') and ($1::uuid[] is null or conversation_id = any ($1))`,
    [conversations?.map(uuidOf) ?? null],
  );
  return rows[0]?.n ?? 0;
}

async function refuseBlindRole(db: Database): Promise<void> {
  const { rows } = await db.query<{ sees: boolean }>(
    "select rolsuper or rolbypassrls as sees from pg_roles where rolname = current_user",
  );
  if (rows[0]?.sees !== true) throw new Error("the invariants need a role that row level security does not apply to");
}

/** Uuids of the conversations to look at; null for all. */
type Scope = readonly string[] | null;

async function gaps(db: Database, scope: Scope): Promise<Violation[]> {
  const { rows } = await db.query<{ id: string; head: number; first: number; last: number; n: number }>(
    `
    select h.conversation_id as id, h.last_seq::int as head, coalesce(e.first, 1)::int as first,
           coalesce(e.last, 0)::int as last, coalesce(e.n, 0)::int as n
    from conversation_heads h
    left join (
      select conversation_id, min(seq) as first, max(seq) as last, count(*) as n from events
      where $1::uuid[] is null or conversation_id = any ($1) group by 1
    ) e using (conversation_id)
    where ($1::uuid[] is null or h.conversation_id = any ($1))
      and (coalesce(e.first, 1) <> 1 or coalesce(e.last, 0) <> h.last_seq or coalesce(e.n, 0) <> h.last_seq)`,
    [scope],
  );
  return rows.map((row) => ({
    invariant: "I1",
    subject: idOf("conv", row.id),
    detail: `${row.n} events from ${row.first} to ${row.last}, the head says ${row.head}`,
  }));
}

async function lostWrites(db: Database, acknowledged: readonly Acknowledged[]): Promise<Violation[]> {
  if (acknowledged.length === 0) return [];
  const { rows } = await db.query<{ message: string; found: number; run: string | null; started: number }>(
    `select a.message, count(m.id)::int as found, max(m.run_id::text) as run,
            (select count(*)::int from events e where e.conversation_id = a.conversation
               and e.event->>'type' = 'TEXT_MESSAGE_START' and e.event->>'messageId' = a.message) as started
     from unnest($1::uuid[], $2::text[], $3::text[]) as a (conversation, client_message, message)
     left join messages m on m.conversation_id = a.conversation and m.client_message_id = a.client_message
       and 'msg_' || replace(m.id::text, '-', '') = a.message
     group by a.conversation, a.message`,
    [
      acknowledged.map((one) => uuidOf(one.conversationId)),
      acknowledged.map((one) => one.clientMessageId),
      acknowledged.map((one) => one.messageId),
    ],
  );
  const byMessage = new Map(rows.map((row) => [row.message, row]));
  return acknowledged.flatMap((one): Violation[] => {
    const row = byMessage.get(one.messageId);
    const runId = row?.run ? idOf("run", row.run) : null;
    if (row?.found === 1 && row.started === 1 && runId === one.runId) return [];
    const detail = `stored ${row?.found ?? 0} times, in the log ${row?.started ?? 0} times, run ${runId}, not ${one.runId}`;
    return [{ invariant: "I2", subject: one.messageId, detail }];
  });
}

function repeatedEffects(
  ledger: readonly LedgerEntry[],
  operatorRetries: Readonly<Record<string, number>>,
): Violation[] {
  const found: Violation[] = [];
  for (const [key, calls] of Map.groupBy(ledger, (call) => call.key)) {
    const effects = calls.filter((call) => call.effect === "idempotent" && call.outcome === "applied").length;
    const writes = calls.filter((call) => call.effect === "write").length;
    if (key === null) {
      const keyless = calls.filter((call) => call.effect !== "read").length;
      if (keyless > 0) found.push({ invariant: "I3", subject: "-", detail: `${keyless} calls without a key` });
      continue;
    }
    const allowed = 1 + (operatorRetries[key] ?? 0);
    if (effects > 1) found.push({ invariant: "I3", subject: key, detail: `${effects} effects of an idempotent tool` });
    if (writes > allowed) {
      found.push({ invariant: "I3", subject: key, detail: `${writes} calls of a write, ${allowed} allowed` });
    }
  }
  return found;
}

async function unsettledRuns(db: Database, scope: Scope): Promise<Violation[]> {
  const { rows } = await db.query<{ id: string; status: string; ends: number; last: string | null }>(
    `
    select r.id, r.status, coalesce(e.ends, 0)::int as ends, e.last
    from runs r
    left join lateral (
      select count(*) filter (where terminal) as ends, (array_agg(kind order by seq desc))[1] as last
      from (
        select seq, event->>'type' = 'RUN_ERROR'
                 or (event->>'type' = 'RUN_FINISHED' and event->'outcome'->>'type' <> 'interrupt') as terminal,
               case event->>'type' when 'RUN_FINISHED' then event->'outcome'->>'type' else event->>'type' end as kind
        from events where conversation_id = r.conversation_id and run_id = r.id
      ) of_run
    ) e on true
    where ($1::uuid[] is null or r.conversation_id = any ($1))
      -- The log of an erased conversation tells nothing of its runs.
      and not exists (select 1 from erased_conversations x where x.conversation_id = r.conversation_id)`,
    [scope],
  );
  const lastKind: Record<string, string> = {
    completed: "success",
    cancelled: "cancelled",
    failed: "RUN_ERROR",
    waiting: "interrupt",
  };
  return rows.flatMap((row): Violation[] => {
    const subject = idOf("run", row.id);
    const expected = lastKind[row.status];
    if (expected === undefined) return [{ invariant: "I4", subject, detail: `still ${row.status}` }];
    const isEnded = row.status !== "waiting";
    if (row.last === expected && row.ends === (isEnded ? 1 : 0)) return [];
    const detail = `${row.status}, but its log ends with ${row.last} and has ${row.ends} terminal events`;
    return [{ invariant: "I4", subject, detail }];
  });
}

/** The log of a conversation as a reader may see it, not merged. */
export async function storedEvents(db: Database, conversationId: string): Promise<StoredEnvelope[]> {
  const { rows } = await db.query<{
    seq: number;
    run_id: string | null;
    audience: Audience;
    correlation_id: string;
    at: Date;
    event: ConversationEvent;
  }>(
    "select seq::int, run_id, audience, correlation_id, at, event from events where conversation_id = $1 order by seq",
    [uuidOf(conversationId)],
  );
  return rows.map((row) => ({
    seq: row.seq,
    conversationId,
    runId: row.run_id === null ? null : idOf("run", row.run_id),
    at: row.at.toISOString(),
    correlationId: row.correlation_id,
    audience: row.audience,
    event: row.event,
  }));
}

async function divergedClients(db: Database, clients: readonly ClientView[]): Promise<Violation[]> {
  const found: Violation[] = [];
  for (const { conversationId, reader, state } of clients) {
    const stored = await storedEvents(db, conversationId);
    const seen = stored.map((envelope) => forAudience(envelope, reader));
    const expected = reduce(initialState, seen);
    if (isDeepStrictEqual(state, expected)) continue;
    const detail = `the client is at ${state.lastSeq} of ${expected.lastSeq}${state.lastSeq === expected.lastSeq ? " with another state" : ""}`;
    found.push({ invariant: "I5", subject: conversationId, detail });
  }
  return found;
}

async function staleEpochs(db: Database, scope: Scope): Promise<Violation[]> {
  const { rows } = await db.query<{ id: string; seq: number; epoch: number; newest: number }>(
    `
    select conversation_id as id, seq::int, epoch, newest from (
      select conversation_id, seq, epoch, max(epoch) over (partition by conversation_id order by seq) as newest
      from events where epoch is not null and ($1::uuid[] is null or conversation_id = any ($1))
    ) e where epoch < newest`,
    [scope],
  );
  return rows.map((row) => ({
    invariant: "I6",
    subject: idOf("conv", row.id),
    detail: `seq ${row.seq} has epoch ${row.epoch} after ${row.newest}`,
  }));
}
