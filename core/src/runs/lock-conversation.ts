import type { AgentConfig, RunStatus, SentMessage } from "@agent-engine/protocol/resources.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import { visitorUuid } from "../conversations/get-conversation.ts";
import { messageOfJson, runOfJson, type MessageJson, type RunJson } from "./run-row.ts";

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
  /** The run that is running or waiting. */
  activeRun: { id: string; status: RunStatus; interrupts: Interrupt[] } | null;
  hasQueuedRuns: boolean;
  /** What an earlier message with the same `clientMessageId` became. */
  known: SentMessage | null;
}

interface LockRow {
  agent_id: string;
  mode: "agent" | "operator";
  version: number | null;
  double_send: AgentConfig["doubleSend"] | null;
  queue_class: AgentConfig["queueClass"] | null;
  last_seq: string;
  epoch: number;
  open_runs: { id: string; status: RunStatus; interrupts: Interrupt[] }[] | null;
  known_message: MessageJson | null;
  known_run: RunJson | null;
}

const lock = statement<LockRow>("lock_conversation", "select * from lock_conversation($1, $2, $3)");

/**
 * Locks the head first, as every writer does, then reads what a decision about its runs needs; with a
 * `clientMessageId` also whether that message is known.
 */
export async function lockConversation(
  ctx: Ctx,
  tx: Tx,
  conversationId: string,
  clientMessageId: string | null = null,
): Promise<LockedConversation> {
  const [row] = await tx.query(lock, [uuidOf(conversationId), visitorUuid(ctx), clientMessageId]);
  if (!row) throw notFound("conversation");
  const open = row.open_runs ?? [];
  const active = open.find((run) => run.status !== "queued");
  return {
    id: conversationId,
    agentId: idOf("agent", row.agent_id),
    mode: row.mode,
    agentVersion: row.version,
    doubleSend: row.double_send ?? "queue",
    queueClass: row.queue_class ?? "priority",
    lastSeq: Number(row.last_seq),
    activeRun: active ? { ...active, id: idOf("run", active.id) } : null,
    hasQueuedRuns: open.some((run) => run.status === "queued"),
    known:
      row.known_message === null
        ? null
        : {
            message: messageOfJson(row.known_message),
            run: row.known_run && runOfJson(row.known_run, ctx.actor.kind === "visitor" ? "all" : "staff"),
          },
  };
}
