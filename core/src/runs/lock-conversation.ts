import type { AgentConfig, RunStatus } from "@agent-engine/protocol/resources.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import { visitorUuid } from "../conversations/get-conversation.ts";

/** A conversation with its head locked: nobody else appends or changes its runs until the transaction ends. */
export interface LockedConversation {
  id: string;
  agentId: string;
  mode: "agent" | "operator";
  /** Null while the agent has not been published. */
  agentVersion: number | null;
  doubleSend: AgentConfig["doubleSend"];
  queueClass: AgentConfig["queueClass"];
  lastSeq: number;
  epoch: number;
  runPosition: number;
  /** The run that is running or waiting. */
  activeRun: { id: string; status: RunStatus; interrupts: Interrupt[] } | null;
  hasQueuedRuns: boolean;
}

interface Row {
  agent_id: string;
  mode: "agent" | "operator";
  version: number | null;
  double_send: AgentConfig["doubleSend"] | null;
  queue_class: AgentConfig["queueClass"] | null;
}

interface HeadRow {
  last_seq: string;
  epoch: number;
  run_pos: string;
  run_id: string | null;
}

interface RunsRow {
  id: string;
  status: RunStatus;
  interrupts: Interrupt[];
}

const lockHead = statement<HeadRow>(
  "head_lock",
  "select last_seq, epoch, run_pos, run_id from conversation_heads where conversation_id = $1 for no key update",
);

// Read after the lock is held, so that it sees what the writer before us committed.
const readConversation = statement<Row & { open_runs: RunsRow[] | null }>(
  "conversation_for_run",
  `select c.agent_id, c.mode, v.version, v.config->>'doubleSend' as double_send, v.config->>'queueClass' as queue_class,
     (select json_agg(json_build_object('id', r.id, 'status', r.status, 'interrupts', r.interrupts))
      from runs r where r.conversation_id = c.id and r.status in ('queued', 'running', 'waiting')) as open_runs
   from conversations c
   join agents a on a.id = c.agent_id
   left join agent_versions v on v.agent_id = a.id and v.version = a.published_version
   where c.id = $1 and ($2::uuid is null or c.visitor_id = $2)`,
);

/** Locks the head first, as every writer does, then reads what a decision about its runs needs. */
export async function lockConversation(ctx: Ctx, tx: Tx, conversationId: string): Promise<LockedConversation> {
  const uuid = uuidOf(conversationId);
  const [head] = await tx.query(lockHead, [uuid]);
  const [row] = await tx.query(readConversation, [uuid, visitorUuid(ctx)]);
  if (!head || !row) throw notFound("conversation");
  const open = row.open_runs ?? [];
  const active = open.find((run) => run.status !== "queued");
  return {
    id: conversationId,
    agentId: idOf("agent", row.agent_id),
    mode: row.mode,
    agentVersion: row.version,
    doubleSend: row.double_send ?? "queue",
    queueClass: row.queue_class ?? "priority",
    lastSeq: Number(head.last_seq),
    epoch: head.epoch,
    runPosition: Number(head.run_pos),
    activeRun: active ? { ...active, id: idOf("run", active.id) } : null,
    hasQueuedRuns: open.some((run) => run.status === "queued"),
  };
}
