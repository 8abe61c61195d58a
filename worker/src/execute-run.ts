/**
 * One run in this worker's hands: fold its log, let the engine go on from there, and write the end as one decision.
 *
 * It never leaves a run behind: a run ends, waits for a person, or is given back for another worker to take over.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Ctx, Services } from "@agent-engine/core/context.ts";
import type { PublishedAgent } from "@agent-engine/core/agents/get-agent-config.ts";
import type { SpendingRules } from "@agent-engine/core/budgets/spending-rules.ts";
import { cleanJson } from "@agent-engine/core/db/jsonb.ts";
import { atOnce, inTenant } from "@agent-engine/core/db/transaction.ts";
import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import type { Appender } from "@agent-engine/core/events/appender.ts";
import { readAllEvents } from "@agent-engine/core/events/read-events.ts";
import { RunLog } from "@agent-engine/core/events/run-log.ts";
import type { Claim } from "@agent-engine/core/runs/claim-run.ts";
import type { Prices } from "@agent-engine/core/models/prices.ts";
import { buryRun } from "@agent-engine/core/runs/bury-run.ts";
import { endRun, parkRun, type EndRun } from "@agent-engine/core/runs/end-run.ts";
import { findEnd } from "@agent-engine/core/runs/find-end.ts";
import { forkedAgent } from "@agent-engine/core/runs/fork-settings.ts";
import { readFork } from "@agent-engine/core/runs/read-fork.ts";
import { releaseLease } from "@agent-engine/core/runs/release-lease.ts";
import { usageOfSteps } from "@agent-engine/core/runs/spent-usage.ts";
import { lastToolStep } from "@agent-engine/core/runs/tool-steps.ts";
import { addUsage } from "@agent-engine/core/runs/usage.ts";
import type { WorkerLease } from "@agent-engine/core/workers/worker-registry.ts";
import { closeBrackets } from "@agent-engine/protocol/brackets.ts";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { TokenUsage } from "@agent-engine/protocol/events.ts";
import { planContinuation, readHistory, type Continuation } from "./continuation.ts";
import type { BoundTool } from "./engine/bound-tool.ts";
import { RunAbandoned, type CallDecision } from "./engine/effects.ts";
import { runEngine, type EngineResult } from "./engine/engine.ts";
import { failedMessage } from "./engine/human-messages.ts";
import type { ModelProvider } from "./engine/model-provider.ts";
import type { RetryPolicy } from "./engine/retry-policy.ts";
import type { ToolOutcome } from "./engine/tool-outcome.ts";
import { withoutTurns } from "./engine/usage.ts";
import { forkedTools } from "./recorded-results.ts";
import { createRunEffects, type RunProgress } from "./run-effects.ts";
import { createRunSpending, priced } from "./run-spending.ts";
import { runFault } from "./run-fault.ts";
import { storeOnce } from "./store-once.ts";

export interface RunTools {
  tools: readonly BoundTool[];
  /** The run makes no more calls here: what its toolkits keep open ends, and nobody waits for it. Never throws. */
  close(): void;
}

export interface ExecuteDeps {
  services: Services;
  appender: Appender;
  lease: WorkerLease;
  agentOf: (tenantId: Claim["tenantId"], agentId: Claim["agentId"], version: number) => Promise<PublishedAgent>;
  modelOf: (agent: PublishedAgent, claim: Claim) => Promise<ModelProvider>;
  toolsOf: (ctx: Ctx, claim: Claim, agent: PublishedAgent) => Promise<RunTools>;
  /** Kept for seconds: most runs wait for nothing here. */
  spendingOf: (tenantId: Claim["tenantId"]) => Promise<SpendingRules>;
  retryPolicy: RetryPolicy;
}

const RELEASE_RETRY_MS = 500;
const MAX_RELEASE_RETRY_MS = 5_000;

/** Executes a claimed run until it ends, waits or is given back. Never rejects. `abort` stops it without a word. */
export async function executeRun(deps: ExecuteDeps, claim: Claim, abort: AbortController): Promise<void> {
  const { services } = deps;
  const ctx: Ctx = {
    services,
    tenantId: claim.tenantId,
    actor: { kind: "worker" },
    correlationId: claim.correlationId,
  };
  const log = services.log.child({ runId: claim.runId, correlationId: claim.correlationId, epoch: claim.epoch });
  const runLog = new RunLog({
    conversationId: claim.conversationId,
    tenantId: claim.tenantId,
    runId: claim.runId,
    epoch: claim.epoch,
    correlationId: claim.correlationId,
    appender: deps.appender,
    onLost: (error) => abort.abort(new RunAbandoned(error.message)),
  });
  const startedAt = performance.now();
  try {
    const end = await run(deps, ctx, claim, runLog, abort.signal);
    log.info({ end, durationMs: Math.round(performance.now() - startedAt) }, "run executed");
  } catch (error) {
    const isExpected = error instanceof LeaseLost || error instanceof RunAbandoned;
    if (isExpected) log.info({ reason: error.message }, "run given up");
    else log.error({ err: error }, "run interrupted");
    await giveBack(deps, claim, runLog, {
      isOrderly: error instanceof RunAbandoned && runLog.lost === null,
      fault: runFault(runLog.lost ?? error),
    });
  }
}

async function run(deps: ExecuteDeps, ctx: Ctx, claim: Claim, runLog: RunLog, signal: AbortSignal): Promise<string> {
  if (claim.kind === "poison") {
    await buryRun(ctx, claim, failedMessage("poison"));
    return "poison";
  }
  // Awaited with the model: where they must be read, it is beside the rest.
  const spendingRules = deps.spendingOf(claim.tenantId);
  spendingRules.catch(() => {});
  const [history, ownStep, turns, published] = await Promise.all([
    readHistory(historyOf(ctx, claim), claim.runId),
    claim.kind === "start" ? null : lastToolStep<ToolOutcome, CallDecision>(ctx, claim.runId),
    claim.kind === "start" ? [] : claim.kind === "resume" ? claim.usage : usageOfSteps(ctx, claim.runId),
    deps.agentOf(claim.tenantId, claim.agentId, claim.agentVersion),
  ]);
  const fork = history.isFork ? await readFork(ctx, claim.runId) : null;
  // A fork begins with steps that it did not make itself.
  const lastStep =
    fork && claim.kind === "start" ? await lastToolStep<ToolOutcome, CallDecision>(ctx, claim.runId) : ownStep;
  const agent = fork ? { ...published, config: forkedAgent(published.config, fork.settings) } : published;
  const spent = turns.reduce<TokenUsage[]>(addUsage, []);
  const plan = planContinuation(claim, history, lastStep);
  const progress: RunProgress = {
    texts: textsOf(plan, claim.runId),
    stepIndex: null,
    stepMessageId: null,
    recordedUsage: [...spent],
  };
  const opening = deps.modelOf(agent, claim);
  opening.catch(() => {});
  const rules = await spendingRules;
  const { prices } = rules;
  const effects = createRunEffects({ ctx, claim, log: runLog, lease: deps.lease, progress, prices, signal });
  for (const event of plan.events) effects.emit(event);

  const model = await opening;
  let result: EngineResult;
  let opened: RunTools | null = null;
  try {
    opened = await deps.toolsOf(ctx, claim, agent);
    const { tools } = opened;
    result = await runEngine(
      {
        runId: claim.runId,
        conversationId: claim.conversationId,
        agent: agent.config,
        agentName: agent.name,
        history: plan.history,
        stepIndex: plan.stepIndex,
        ...(plan.resumeStep ? { resumeStep: plan.resumeStep } : {}),
        signal,
        attempt: claim.attempt,
        spent: { usage: spent, activeMs: history.activeMs },
      },
      {
        effects,
        model,
        tools: fork ? forkedTools(tools, fork) : tools,
        retryPolicy: deps.retryPolicy,
        spending: createRunSpending({
          ctx,
          claim,
          rules,
          assertLease: effects.assertLease,
          modelOf: (choice) => deps.modelOf({ ...agent, config: { ...agent.config, model: choice } }, claim),
        }),
      },
    );
  } catch (error) {
    if (runLog.lost || signal.aborted || error instanceof LeaseLost || error instanceof RunAbandoned) throw error;
    // A fault of ours: the visitor gets a sentence, staff the reason, and the next message works.
    ctx.services.log.error({ err: error, runId: claim.runId }, "the engine failed");
    return fail(ctx, claim, runLog, signal, progress.texts, spent, {
      code: "internal",
      message: failedMessage("internal"),
      detail: error instanceof Error ? error.message : String(error),
    });
  } finally {
    opened?.close();
  }
  return writeEnd(ctx, claim, runLog, signal, progress, result, prices);
}

/** The log as it was when the run was claimed; most of it came with the claim. */
async function* historyOf(ctx: Ctx, { conversationId, history, lastSeq }: Claim): AsyncGenerator<StoredEnvelope[]> {
  yield history;
  const after = history.at(-1)?.seq ?? 0;
  if (after < lastSeq) yield* readAllEvents(ctx, { conversationId, after, upTo: lastSeq });
}

/** What the assistant said before this worker took over, and still stands. */
function textsOf(plan: Continuation, runId: string): Map<string, string> {
  return new Map(
    plan.history.messages
      .filter((message) => message.runId === runId && message.role === "assistant")
      .map((message) => [message.id, message.text]),
  );
}

async function writeEnd(
  ctx: Ctx,
  claim: Claim,
  runLog: RunLog,
  signal: AbortSignal,
  progress: RunProgress,
  result: EngineResult,
  prices: Prices,
): Promise<string> {
  const { conversationId, runId } = claim;
  const { texts } = progress;
  if (result.kind === "failed") {
    const { code, message, failure } = result;
    return fail(ctx, claim, runLog, signal, texts, result.usage, { code, message, detail: failure.detail });
  }
  if (result.kind === "interrupt") {
    const { usage } = result;
    // They quote what a model wrote; the log and the row say the same.
    const interrupts = cleanJson(result.interrupts);
    await runLog.takeOver(
      [
        {
          event: {
            type: "RUN_FINISHED",
            threadId: conversationId,
            runId,
            outcome: { type: "interrupt", interrupts },
            usage,
          },
        },
      ],
      ({ fence, events }) =>
        storeDecision(ctx, { conversationId, runId }, signal, () =>
          inTenant(ctx.services.db, ctx.tenantId, (tx) =>
            parkRun(ctx, tx, { conversationId, runId, fence, events, interrupts, usage, texts }),
          ),
        ),
    );
    return "waiting";
  }
  const { finishReason, usage } = result;
  await end(ctx, claim, runLog, signal, {
    event: {
      type: "RUN_FINISHED",
      threadId: conversationId,
      runId,
      outcome: { type: "success" },
      result: { finishReason },
      usage,
    },
    row: { status: "completed", finishReason, error: null, usage, texts, ...lastStepOf(progress, usage, prices) },
  });
  return finishReason;
}

/** The turn that ended the run; a turn that asked for tools was recorded when it did. */
function lastStepOf(progress: RunProgress, usage: readonly TokenUsage[], prices: Prices): Pick<EndRun, "lastStep"> {
  const { stepIndex, stepMessageId, texts, recordedUsage } = progress;
  if (stepIndex === null) return {};
  const text = stepMessageId === null ? "" : (texts.get(stepMessageId) ?? "");
  const messageId = text === "" ? null : stepMessageId;
  const own = withoutTurns(usage, recordedUsage).map((entry) => priced(prices, entry));
  return { lastStep: { index: stepIndex, messageId, text, usage: own } };
}

async function fail(
  ctx: Ctx,
  claim: Claim,
  runLog: RunLog,
  signal: AbortSignal,
  texts: ReadonlyMap<string, string>,
  usage: readonly TokenUsage[],
  error: { code: string; message: string; detail: string },
): Promise<string> {
  for (const event of closeBrackets(runLog.brackets)) runLog.emit(event);
  await end(ctx, claim, runLog, signal, {
    event: { type: "RUN_ERROR", code: error.code, message: error.message, usage: [...usage] },
    row: { status: "failed", finishReason: null, error, usage, texts },
  });
  return error.code;
}

async function end(
  ctx: Ctx,
  { conversationId, runId }: Claim,
  runLog: RunLog,
  signal: AbortSignal,
  last: {
    event: EndRun["events"][number]["event"];
    row: Omit<EndRun, "conversationId" | "runId" | "fence" | "events">;
  },
): Promise<void> {
  await runLog.takeOver([{ event: last.event }], ({ fence, events }) =>
    storeDecision(ctx, { conversationId, runId }, signal, () =>
      atOnce(ctx.services.db, (tx) => endRun(ctx, tx, { conversationId, runId, fence, events, ...last.row })),
    ),
  );
}

/** The run's last word of this worker: however often its answer is lost, it is said once. */
function storeDecision(
  ctx: Ctx,
  run: { conversationId: string; runId: string },
  signal: AbortSignal,
  write: () => Promise<void>,
): Promise<void> {
  const log = ctx.services.log.child({ runId: run.runId });
  return storeOnce({ write, wasStored: () => findEnd(ctx, run), log, signal });
}

/**
 * Tries until it is done. To give up would strand the run: once heartbeats go on, after whatever held them up, the
 * sweeper takes it for one that its worker still has.
 */
async function giveBack(
  deps: ExecuteDeps,
  claim: Claim,
  runLog: RunLog,
  { isOrderly, fault }: { isOrderly: boolean; fault: string | null },
): Promise<void> {
  if (runLog.lost instanceof LeaseLost) return;
  const { tenantId, conversationId, runId, epoch } = claim;
  const { uuid: workerUuid } = deps.lease;
  for (let tries = 1; !deps.lease.hasEnded(); tries++) {
    try {
      const release = { tenantId, conversationId, runId, epoch, workerUuid, isOrderly };
      return await releaseLease(deps.services, fault === null ? release : { ...release, failure: fault });
    } catch (error) {
      if (tries === 1) deps.services.log.warn({ err: error, runId }, "run not given back yet");
      await sleep(Math.min(tries * RELEASE_RETRY_MS, MAX_RELEASE_RETRY_MS));
    }
  }
}
