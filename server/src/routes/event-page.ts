import { z } from "@hono/zod-openapi";
import type { Ctx } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { readEventPage as readPage, readEvents } from "@agent-engine/core/events/read-events.ts";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { wholeNumber } from "../http/paging.ts";
import { audienceOf } from "../realtime/audience.ts";
import { cut } from "../realtime/batch.ts";

const after = wholeNumber(0, Number.MAX_SAFE_INTEGER)
  .optional()
  .openapi({ type: "integer", description: "Your cursor: events follow from the next seq. 0 by default." });

export const streamQuery = z.object({ after });

export const eventsQuery = z.object({
  after,
  limit: wholeNumber(1, 1_000).optional().openapi({
    type: "integer",
    description:
      "Log entries read: 1 to 1000, 100 by default, and 256 KB of them. Merged deltas make the page shorter.",
  }),
});

const DEFAULT_LIMIT = 100;
/** A page of large events is shorter: it stands in memory as a whole, for as long as its reader takes. */
const MAX_BYTES = 256 * 1024;

/** A page of the log as its reader may see it; `nextCursor` is the next `after`, or null at the log's end. */
export async function readEventPage(
  ctx: Ctx,
  source: { conversationId: string; runId: string | null },
  query: z.infer<typeof eventsQuery>,
): Promise<Page<Envelope>> {
  const { conversationId } = source;
  const range = { conversationId, ...(source.runId === null ? {} : { runId: source.runId }) };
  const page = { ...range, after: query.after ?? 0, limit: query.limit ?? DEFAULT_LIMIT, maxBytes: MAX_BYTES };
  const { events, isLast } = await readPage(ctx, page);
  const last = events.at(-1);
  const [more] = last && !isLast ? await readEvents(ctx, { ...range, after: last.seq, limit: 1 }) : [];
  return { items: cut(events, audienceOf(ctx.actor)), nextCursor: last && more ? String(last.seq) : null };
}

/** Where a stream begins: a reconnecting reader's `Last-Event-ID` is newer than the URL it repeats. */
export function cursorOf(lastEventId: string | undefined, query: z.infer<typeof streamQuery>): number {
  if (lastEventId === undefined || lastEventId === "") return query.after ?? 0;
  if (/^\d{1,15}$/.test(lastEventId)) return Number(lastEventId);
  throw new ProblemError("invalid_request", "`Last-Event-ID` must be the id of an event of this stream: its seq.");
}
