/**
 * Tells those who wait for a place where they are in line and how long it may take: in the log once a run has waited for
 * half a second and when much has changed, by hints in between. One process at a time does it for everybody; should it
 * die, another does from where the database is.
 */
import { custom } from "@agent-engine/protocol/events.ts";
import type { ConversationId, RunId, TenantId } from "@agent-engine/protocol/ids.ts";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { atOnce } from "../db/transaction.ts";
import { toEnvelopes } from "../events/append.ts";
import { idOf } from "../ids.ts";
import { createDelayEstimate, type Service } from "./expected-delay.ts";
import { worthTelling, type Told } from "./worth-telling.ts";

/** A run that gets its place within this is told nothing. */
const WAITED_MS = 500;
/** So many from the front are followed closely. */
const FRONT = 200;
/** Told at once. */
const BATCH = 500;

interface Waiting {
  /** In the fair order, 1 is next; for a run whose tenant is at its cap, among that tenant's. */
  place: number;
  /** The tenant's cap, when that is what the run waits for. */
  cap: number | null;
  run_id: string;
  hand_over: number;
  is_told: boolean;
  told_position: number | null;
  told_delay_ms: number | null;
  logged_position: number | null;
  logged_delay_ms: number | null;
}

const lookAt = statement<{ outlook: (Service & { waiting: Waiting[] }) | null }>(
  "queue_outlook",
  "select queue_outlook($1, $2, $3, $4) as outlook",
);

const tell = statement<{
  run_id: string;
  conversation_id: string;
  tenant_id: string;
  correlation_id: string;
  seq: string | null;
  at: Date | null;
}>("tell_queue", "select * from tell_queue($1::uuid[], $2::int[], $3::int[], $4::int[], $5::boolean[], $6::int[])");

interface Telling extends Told {
  waiting: Waiting;
  isLogged: boolean;
}

/** One look at a class. Answers whether there were so many to tell that one should look again at once. */
export async function tellWaiting(services: Pick<Services, "db" | "bus">, queueClass: QueueClass): Promise<boolean> {
  const [row] = await services.db.query(lookAt, [queueClass, WAITED_MS, FRONT, BATCH]);
  if (!row?.outlook) return false;
  const { waiting } = row.outlook;
  const tellings = tellingsOf(row.outlook, waiting);
  if (tellings.length > 0) await publish(services, tellings);
  return waiting.filter(({ is_told }) => !is_told).length === BATCH;
}

function tellingsOf(service: Service, waiting: readonly Waiting[]): Telling[] {
  const delayOf = createDelayEstimate(service);
  const tellings: Telling[] = [];
  for (const one of waiting) {
    const capped =
      one.cap === null
        ? null
        : createDelayEstimate({ ...service, places: one.cap, held: service.held.slice(0, one.cap) });
    const now: Told = { position: one.place, expectedDelayMs: (capped ?? delayOf)(one.place - 1) };
    const worth = worthTelling(now, {
      told: toldOf(one.told_position, one.told_delay_ms),
      logged: toldOf(one.logged_position, one.logged_delay_ms),
    });
    if (worth !== "nothing") tellings.push({ ...now, waiting: one, isLogged: worth === "event" });
  }
  return tellings;
}

function toldOf(position: number | null, expectedDelayMs: number | null): Told | null {
  return position === null || expectedDelayMs === null ? null : { position, expectedDelayMs };
}

async function publish(services: Pick<Services, "db" | "bus">, tellings: readonly Telling[]): Promise<void> {
  const byRun = new Map(tellings.map((telling) => [telling.waiting.run_id, telling]));
  await atOnce(services.db, async (tx) => {
    const rows = await tx.query(tell, [
      tellings.map(({ waiting }) => waiting.run_id),
      tellings.map(({ waiting }) => waiting.hand_over),
      tellings.map(({ position }) => position),
      tellings.map(({ expectedDelayMs }) => expectedDelayMs),
      tellings.map(({ isLogged }) => isLogged),
      tellings.map(({ waiting }) => waiting.logged_position),
    ]);
    for (const row of rows) {
      const telling = byRun.get(row.run_id);
      if (!telling) continue;
      const { position, expectedDelayMs, waiting } = telling;
      const conversationId: ConversationId = idOf("conv", row.conversation_id);
      const runId: RunId = idOf("run", row.run_id);
      const tenantId: TenantId = idOf("tenant", row.tenant_id);
      const value = { position, expectedDelayMs };
      const { seq, at } = row;
      tx.afterCommit(() => {
        if (seq !== null && at !== null) {
          const event = {
            event: custom("run.queued", value),
            runId,
            audience: "all" as const,
            correlationId: row.correlation_id,
          };
          const events = toEnvelopes(conversationId, { base: Number(seq) - 1, at, events: [event] });
          services.bus.publish({ conversationId, tenantId, events });
        }
        // Also with an event, unless it is the first: a reader may hold an older hint.
        if (waiting.is_told) {
          services.bus.control.publish({ kind: "hint", hint: { conversationId, runId, name: "run.queued", value } });
        }
      });
    }
  });
}
