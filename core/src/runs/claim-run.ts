import type { Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { AgentId, ConversationId, RunId, TenantId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { toEnvelopes, type EventRow } from "../events/read-events.ts";
import { idOf, uuidOf } from "../ids.ts";
import type { Doorbell } from "../queue/run-queue.ts";
import type { Resolution } from "./resume-run.ts";

/** A run's lease in this worker's hands. `epoch` and a position fence everything it writes. */
export interface Claim {
  /** `start`: first execution; `resume`: a person answered its interrupt; `takeover`: its worker died. */
  kind: "start" | "resume" | "takeover";
  runId: RunId;
  tenantId: TenantId;
  conversationId: ConversationId;
  visitorId: VisitorId | null;
  agentId: AgentId;
  agentVersion: number;
  epoch: number;
  lastSeq: number;
  attempt: number;
  correlationId: string;
  /** How the interrupt was resolved, when `kind` is `resume`. */
  resolution: Resolution | null;
  interrupts: Interrupt[];
  startedAt: Date;
  usage: TokenUsage[];
  /** The log up to `lastSeq`, or its beginning when it is long: go on reading after the last one's seq. */
  history: StoredEnvelope[];
}

/** Events that come with the claim: all of them for most conversations, and one round trip less. */
const HISTORY_ROWS = 500;

const claim = statement<{
  claim: Claim["kind"];
  tenant_id: string;
  conversation_id: string;
  visitor_id: string | null;
  agent_id: string;
  agent_version: number;
  epoch: number;
  last_seq: string;
  attempt: number;
  correlation_id: string;
  resume: Resolution | null;
  interrupts: Interrupt[];
  started_at: Date;
  usage: TokenUsage[];
  history: (Omit<EventRow, "at"> & { at: string })[] | null;
}>(
  "claim_run",
  `select c.*, (select json_agg(e) from read_events(c.tenant_id, c.conversation_id, 0, c.last_seq, null, ${HISTORY_ROWS}) e) as history
   from claim_run($1, $2, $3) c`,
);

/**
 * Answers a doorbell: compare-and-set on the run, its hand-over number and the previous worker's heartbeat. Null when
 * there is nothing to do: another worker has it, it ended, or the doorbell is an old one.
 */
export async function claimRun(
  services: Pick<Services, "db">,
  doorbell: Doorbell,
  workerUuid: string,
): Promise<Claim | null> {
  const [row] = await services.db.query(claim, [uuidOf(doorbell.runId), doorbell.handOver, workerUuid]);
  if (!row) return null;
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
    correlationId: row.correlation_id,
    resolution: row.resume,
    interrupts: row.interrupts,
    startedAt: row.started_at,
    usage: row.usage,
    history: toEnvelopes(
      idOf("conv", row.conversation_id),
      (row.history ?? []).map((event) => ({ ...event, at: new Date(event.at) })),
    ),
  };
}
