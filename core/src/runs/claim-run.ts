import type { Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { AgentId, ConversationId, RunId, TenantId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { OfferingPage } from "../client-tools/offered-tools.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { toEnvelopes, type EventRow } from "../events/read-events.ts";
import { idOf, uuidOf } from "../ids.ts";
import type { Doorbell } from "../queue/run-queue.ts";
import type { Resolution } from "./decide-interrupt.ts";

/** A run's lease in this worker's hands. `epoch` and a position fence everything it writes. */
export interface Claim {
  /**
   * `start`: first execution; `resume`: a person answered its interrupt; `takeover`: its worker died or gave it back;
   * `poison`: it killed so many workers that only its end may be written.
   */
  kind: "start" | "resume" | "takeover" | "poison";
  runId: RunId;
  tenantId: TenantId;
  conversationId: ConversationId;
  visitorId: VisitorId | null;
  agentId: AgentId;
  agentVersion: number;
  epoch: number;
  lastSeq: number;
  attempt: number;
  /** Workers that died while they executed it, and how the last one did. */
  crashes: number;
  lastCrash: string | null;
  correlationId: string;
  /** How the interrupt was resolved, when `kind` is `resume`. */
  resolution: Resolution | null;
  interrupts: Interrupt[];
  startedAt: Date;
  usage: TokenUsage[];
  /**
   * The log up to `lastSeq`, or its beginning when it is long: go on reading after the last one's seq. Empty for
   * `poison`: the log may be what kills.
   */
  history: StoredEnvelope[];
  /** The pages of the visitor that offer tools at this moment, the newest first. */
  pages: OfferingPage[];
}

/** Two workers died of the run, so that only a quarantine process may execute it. Nothing was claimed. */
export interface Suspect {
  kind: "suspect";
}

/** Events that come with the claim: all of them for most conversations, and one round trip less. */
const HISTORY_ROWS = 500;

const claim = statement<{
  claim: Claim["kind"] | Suspect["kind"];
  tenant_id: string;
  conversation_id: string;
  visitor_id: string | null;
  agent_id: string;
  agent_version: number;
  epoch: number;
  last_seq: string;
  attempt: number;
  crashes: number;
  last_crash: string | null;
  correlation_id: string;
  resume: Resolution | null;
  interrupts: Interrupt[];
  started_at: Date;
  usage: TokenUsage[];
  history: (Omit<EventRow, "at"> & { at: string })[] | null;
  pages: OfferingPage[] | null;
}>(
  "claim_run",
  `select c.*, case when c.claim in ('start', 'resume', 'takeover') then
     (select json_agg(e) from read_events(c.tenant_id, c.conversation_id, 0, c.last_seq, null, ${HISTORY_ROWS}) e) end as history,
     case when c.visitor_id is not null then offered_client_tools(c.tenant_id, c.conversation_id, $5) end as pages
   from claim_run($1, $2, $3, $4) c`,
);

/**
 * Answers a doorbell: compare-and-set on the run, its hand-over number and the previous worker's heartbeat. Null when
 * there is nothing to do: another worker has it, it ended, or the doorbell is an old one. `isQuarantine`: this worker
 * executes nothing else, so it may take a run that others died of.
 */
export async function claimRun(
  services: Pick<Services, "db" | "clock">,
  doorbell: Doorbell,
  workerUuid: string,
  { isQuarantine = false } = {},
): Promise<Claim | Suspect | null> {
  const values = [uuidOf(doorbell.runId), doorbell.handOver, workerUuid, isQuarantine, new Date(services.clock())];
  const [row] = await services.db.query(claim, values);
  if (!row) return null;
  if (row.claim === "suspect") return { kind: "suspect" };
  return {
    kind: row.claim,
    runId: doorbell.runId as RunId,
    tenantId: idOf("tenant", row.tenant_id),
    conversationId: idOf("conv", row.conversation_id),
    visitorId: row.visitor_id === null ? null : idOf("visitor", row.visitor_id),
    agentId: idOf("agent", row.agent_id),
    agentVersion: row.agent_version,
    epoch: row.epoch,
    lastSeq: Number(row.last_seq),
    attempt: row.attempt,
    crashes: row.crashes,
    lastCrash: row.last_crash,
    correlationId: row.correlation_id,
    resolution: row.resume,
    interrupts: row.interrupts,
    startedAt: row.started_at,
    usage: row.usage,
    history: toEnvelopes(
      idOf("conv", row.conversation_id),
      (row.history ?? []).map((event) => ({ ...event, at: new Date(event.at) })),
    ),
    pages: row.pages ?? [],
  };
}
