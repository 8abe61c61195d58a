/**
 * The domain without its processes: services on a database of their own, where doorbells are written down instead of
 * rung and a worker is a row with a heartbeat that never runs out by itself. Tests of `core/` move time by hand.
 */
import { createAppender, type Appender } from "@agent-engine/core/events/appender.ts";
import { RunLog } from "@agent-engine/core/events/run-log.ts";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import { inTenant } from "@agent-engine/core/db/transaction.ts";
import { idOf, newId, uuidOf } from "@agent-engine/core/ids.ts";
import type { Doorbell, RunQueue } from "@agent-engine/core/queue/run-queue.ts";
import { claimRun, type Claim } from "@agent-engine/core/runs/claim-run.ts";
import { endRun, parkRun } from "@agent-engine/core/runs/end-run.ts";
import { openVisitorSession } from "@agent-engine/core/visitors/open-visitor-session.ts";
import type { ConversationEvent, Interrupt } from "@agent-engine/protocol/events.ts";
import type { SiteId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig, QueueClass, Submission } from "@agent-engine/protocol/resources.ts";
import pg from "pg";
import { submit } from "./submit.ts";
import { createTestTenant, openTestServices, type TestServices, type TestTenant } from "./tenants.ts";

export interface Rung extends Doorbell {
  queueClass: QueueClass;
}

export interface Spine {
  services: TestServices;
  /** As the owner: row level security hides nothing, and time can be moved. */
  owner: pg.Pool;
  /** Doorbells in the order they were rung. */
  rung: Rung[];
  appender: Appender;
  close(): Promise<void>;
}

export async function openSpine(): Promise<Spine> {
  const opened = await openTestServices();
  const rung: Rung[] = [];
  const queue: RunQueue = {
    ...opened.queue,
    ring: async (queueClass, doorbell) => void rung.push({ ...doorbell, queueClass }),
  };
  const services = { ...opened, queue };
  const owner = new pg.Pool({ connectionString: opened.ownerUrl, max: 4 });
  owner.on("error", (error) => opened.log.debug({ err: error }, "owner's connection lost"));
  return {
    services,
    owner,
    rung,
    appender: createAppender(services),
    async close() {
      await owner.end();
      await opened.close();
    },
  };
}

export function openTenant({ services }: Spine, config: Partial<AgentConfig> = {}): Promise<TestTenant> {
  return createTestTenant(services, config);
}

/** The context of a new visitor on the tenant's site. */
export async function visitorOf(tenant: TestTenant): Promise<Ctx> {
  const siteId = tenant.siteId as SiteId;
  const { visitor } = await openVisitorSession(tenant.ctx, { siteId });
  return {
    ...tenant.ctx,
    actor: { kind: "visitor", visitorId: visitor.id as VisitorId, siteId, agentId: tenant.agentId },
  };
}

export async function startConversation({ ctx, agentId }: Pick<TestTenant, "ctx" | "agentId">): Promise<string> {
  return (await createConversation(ctx, { agentId })).id;
}

let messages = 0;

/** Sends a message of its own `clientMessageId`, which a run answers. */
export function ask(ctx: Ctx, conversationId: string, text = "When do you open?"): Promise<Submission> {
  return submit(ctx, { conversationId, clientMessageId: `m${++messages}`, text });
}

/** A worker that lives until `killWorker`. */
export async function addWorker({ owner }: Spine, slots = 1_000): Promise<string> {
  const uuid = uuidOf(newId("worker"));
  await owner.query(
    "insert into workers (id, slots, expires_at, held_since) values ($1, $2, now() + interval '1 day', now() - interval '1 day')",
    [uuid, slots],
  );
  return uuid;
}

/** Its heartbeat runs out, as after `kill -9`. */
export async function killWorker({ owner }: Spine, uuid: string): Promise<void> {
  await owner.query("update workers set expires_at = now() - interval '1 second' where id = $1", [uuid]);
}

/** The run's newest doorbell, rung or not. */
export async function doorbellOf({ owner }: Spine, runId: string): Promise<Doorbell> {
  const { rows } = await owner.query<{ hand_over: number }>("select hand_over from runs where id = $1", [
    uuidOf(runId),
  ]);
  return { runId, handOver: rows[0]?.hand_over ?? 0, correlationId: "test" };
}

/** Claims a run for a worker with its newest doorbell. */
export async function claimFor(spine: Spine, worker: string, runId: string): Promise<Claim> {
  const claim = await claimRun(spine.services, await doorbellOf(spine, runId), worker);
  if (!claim || claim.kind === "suspect") throw new Error(`${runId} was not to be claimed`);
  return claim;
}

type GivenInterrupt = Partial<Interrupt> & Pick<Interrupt, "reason">;

/** A claimed run as its worker writes it. */
export interface Working {
  claim: Claim;
  log: RunLog;
  /** Emits and waits for the commit. */
  write(...events: ConversationEvent[]): Promise<void>;
  complete(): Promise<void>;
  /** Parks the run with these interrupts and answers the first. */
  wait(...interrupts: [GivenInterrupt, ...GivenInterrupt[]]): Promise<Interrupt>;
}

/** Claims a run and starts it. */
export async function work(spine: Spine, worker: string, runId: string): Promise<Working> {
  const claim = await claimFor(spine, worker, runId);
  const working = workOn(spine, claim);
  await working.write({ type: "RUN_STARTED", threadId: claim.conversationId, runId: claim.runId });
  return working;
}

export function workOn({ services, appender }: Spine, claim: Claim): Working {
  const { conversationId, runId, tenantId, epoch, correlationId } = claim;
  const run = { threadId: conversationId, runId };
  const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId };
  const log = new RunLog({ conversationId, runId, tenantId, epoch, correlationId, appender, onLost: () => {} });
  const base = { conversationId, runId, usage: [], texts: new Map<string, string>() };
  return {
    claim,
    log,
    async write(...events) {
      for (const event of events) log.emit(event);
      await log.flush();
    },
    async complete() {
      const result = { finishReason: "stop" as const };
      await log.takeOver(
        [{ event: { type: "RUN_FINISHED", ...run, outcome: { type: "success" }, result } }],
        ({ fence, events }) =>
          inTenant(services.db, tenantId, (tx) =>
            endRun(ctx, tx, { ...base, fence, events, status: "completed", finishReason: "stop", error: null }),
          ),
      );
    },
    async wait(...given) {
      const interruptOf = (one: GivenInterrupt): Interrupt => ({
        id: newId("int"),
        message: "Someone must look at this.",
        ...one,
      });
      const [first, ...others] = given;
      const interrupt = interruptOf(first);
      const interrupts = [interrupt, ...others.map(interruptOf)];
      await log.takeOver(
        [{ event: { type: "RUN_FINISHED", ...run, outcome: { type: "interrupt", interrupts } } }],
        ({ fence, events }) =>
          inTenant(services.db, tenantId, (tx) => parkRun(ctx, tx, { ...base, fence, events, interrupts })),
      );
      return interrupt;
    },
  };
}

/** The state of every job of a run, oldest first. */
export async function jobsOf({ owner }: Spine, runId: string): Promise<{ handOver: number; state: string }[]> {
  const { rows } = await owner.query<{ handOver: number; state: string }>(
    `select hand_over as "handOver", state from jobs where run_id = $1 order by hand_over`,
    [uuidOf(runId)],
  );
  return rows;
}

/** Names of the events of a conversation as stored, in order, facts of ours by their own names. */
export async function eventNames({ owner }: Spine, conversationId: string, runId?: string): Promise<string[]> {
  const { rows } = await owner.query<{ run_id: string | null; event: ConversationEvent }>(
    "select run_id, event from events where conversation_id = $1 order by seq",
    [uuidOf(conversationId)],
  );
  return rows
    .filter((row) => runId === undefined || (row.run_id !== null && idOf("run", row.run_id) === runId))
    .map(({ event }) => nameOf(event));
}

function nameOf(event: ConversationEvent): string {
  if (event.type === "CUSTOM") return event.name;
  return event.type === "RUN_FINISHED" ? `RUN_FINISHED ${event.outcome.type}` : event.type;
}

/** The events of a step whose text goes on. */
export function beginAnswer(messageId: string, text = "At nine"): ConversationEvent[] {
  return [
    { type: "STEP_STARTED", stepName: "step-0" },
    { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
  ];
}
