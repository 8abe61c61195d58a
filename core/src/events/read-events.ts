import { mergeAdjacent } from "@agent-engine/protocol/merge.ts";
import type { Audience, StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf, uuidOf } from "../ids.ts";

export interface EventRow {
  /** A bigint: text from a row, a number from JSON. */
  seq: string | number;
  run_id: string | null;
  audience: Audience;
  correlation_id: string;
  at: Date;
  event: ConversationEvent;
}

const read = statement<EventRow>("read_events", "select * from read_events($1, $2, $3, $4, $5, $6)");

const readPage = statement<EventRow & { is_cut: boolean }>(
  "read_event_page",
  "select * from read_event_page($1, $2, $3, $4, $5, $6, $7)",
);

export interface ReadEvents {
  conversationId: string;
  /** The reader's cursor: events follow from `after + 1`. */
  after: number;
  /** Last seq wanted; everything by default. */
  upTo?: number;
  /** Rows read at most; merged deltas make the answer shorter. */
  limit: number;
  /** Only this run's events. */
  runId?: string;
}

/**
 * Reads a stretch of a conversation's log, ascending, adjacent deltas merged. Checks nothing about the reader: ask
 * `getConversation` first, and cut to the audience after.
 */
export async function readEvents(
  ctx: Pick<Ctx, "services" | "tenantId">,
  input: ReadEvents,
): Promise<StoredEnvelope[]> {
  return toEnvelopes(input.conversationId, await readRows(ctx, input));
}

export interface EventPage {
  events: StoredEnvelope[];
  /** False when the page was full, by `limit` or by its bytes: more may follow. */
  isLast: boolean;
}

/**
 * The same, but of events that are large no more than about `maxBytes`: what is read for a reader stands in memory, and
 * merged deltas are as large as all of them. The event that goes beyond is the page's last, so there is always one.
 */
export async function readEventPage(
  ctx: Pick<Ctx, "services" | "tenantId">,
  { maxBytes, ...input }: ReadEvents & { maxBytes: number },
): Promise<EventPage> {
  const rows = await ctx.services.db.query(readPage, [...valuesOf(ctx, input), maxBytes]);
  const isLast = rows.length < input.limit && rows.at(-1)?.is_cut !== true;
  return { events: toEnvelopes(input.conversationId, rows), isLast };
}

function readRows(ctx: Pick<Ctx, "services" | "tenantId">, input: ReadEvents): Promise<EventRow[]> {
  return ctx.services.db.query(read, valuesOf(ctx, input));
}

function valuesOf(ctx: Pick<Ctx, "tenantId">, input: ReadEvents): unknown[] {
  return [
    uuidOf(ctx.tenantId),
    uuidOf(input.conversationId),
    input.after,
    input.upTo ?? Number.MAX_SAFE_INTEGER,
    input.runId === undefined ? null : uuidOf(input.runId),
    input.limit,
  ];
}

/** Rows as envelopes, adjacent deltas merged. */
export function toEnvelopes(conversationId: string, rows: readonly EventRow[]): StoredEnvelope[] {
  return mergeAdjacent(
    rows.map((row) => ({
      seq: Number(row.seq),
      conversationId,
      runId: row.run_id === null ? null : idOf("run", row.run_id),
      at: row.at.toISOString(),
      correlationId: row.correlation_id,
      audience: row.audience,
      event: row.event,
    })),
  );
}

const PAGE_ROWS = 5_000;

/** Reads everything after a cursor, a page at a time. */
export async function* readAllEvents(
  ctx: Pick<Ctx, "services" | "tenantId">,
  input: Omit<ReadEvents, "limit">,
): AsyncGenerator<StoredEnvelope[]> {
  let after = input.after;
  for (;;) {
    const page = { ...input, after, limit: PAGE_ROWS };
    const rows = await readRows(ctx, page);
    const last = rows.at(-1);
    if (!last) return;
    yield toEnvelopes(input.conversationId, rows);
    if (rows.length < PAGE_ROWS) return;
    after = Number(last.seq);
  }
}
