/**
 * What a model call may cost. Before each one its most is taken out of the budgets that concern the run, and after it
 * what it used takes the place of that; the nearer a budget's end, the less a call may do. Without a budget it asks
 * nobody.
 */
import type { LanguageModelV4CallOptions } from "@ai-sdk/provider";
import { custom, type BudgetAction, type CustomValues, type TokenUsage } from "@agent-engine/protocol/events.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import { throwIfAbandoned } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import type { ModelProvider } from "./model-provider.ts";
import type { TurnEnd } from "./model-turn.ts";
import { pause } from "./pause.ts";
import type { StepWriter } from "./step-writer.ts";
import { tokensOf } from "./usage.ts";

/** What a run may spend, and what its turns cost. */
export interface Spending {
  /** Whole micro-dollars; models without a price count nothing. */
  costOf(usage: readonly TokenUsage[]): number;
  /** Null where the tenant has no budget. */
  ledger: Ledger | null;
}

export interface Grant {
  /** `busy`: what is left is held by other calls under way. */
  outcome: "granted" | "busy" | "spent";
  number: number;
  action: BudgetAction;
  fallbackModel: ModelChoice | null;
  /** The budget that holds the run back most. */
  leading: CustomValues["budget.reached"] | null;
}

export interface Ledger {
  /** Tokens at most. Rejects when the lease is lost. */
  reserve(model: ModelProvider, most: { inputTokens: number; outputTokens: number }): Promise<Grant>;
  /** Never rejects: what cannot be settled is released with the run. */
  settle(grant: number, call: { stepIndex: number; usage: TokenUsage; isEstimate: boolean }): Promise<void>;
  modelOf(choice: ModelChoice): Promise<ModelProvider>;
}

export const FREE: Spending = { costOf: () => 0, ledger: null };

/** An answer's length where the agent sets none: without an end nothing could be set aside for it. */
export const MAX_OUTPUT_TOKENS = 8_192;
/** A token stands for a byte at least, and for about four of them in most texts. */
const BYTES_A_TOKEN = 4;
/** What vendors add to a prompt that we do not see. */
const UNSEEN_TOKENS = 256;
/** Others' calls end, and give back what they did not use. */
const MAX_WAIT_MS = 30_000;
const ASK_AGAIN_MS = 400;

export type Admission =
  | {
      kind: "admitted";
      model: ModelProvider;
      options: LanguageModelV4CallOptions;
      mayCallTools: boolean;
      /** `end` is null for a call that was not made. */
      settle(end: TurnEnd | null, writer: StepWriter): Promise<void>;
    }
  | { kind: "refused" }
  | { kind: "stopped" };

/** Asks for one model call. Waits while others hold what is left. */
export async function admitCall(
  run: EngineRun,
  stepIndex: number,
  options: LanguageModelV4CallOptions,
): Promise<Admission> {
  const { effects, model, spending } = run;
  const { ledger } = spending;
  if (!ledger) return { kind: "admitted", model, options, mayCallTools: true, settle: async () => {} };
  const promptBytes = Buffer.byteLength(JSON.stringify([options.prompt, options.tools ?? []]));
  const outputTokens = options.maxOutputTokens ?? MAX_OUTPUT_TOKENS;
  const giveUpAt = effects.now() + MAX_WAIT_MS;
  for (;;) {
    effects.assertLease();
    const grant = await ledger.reserve(model, { inputTokens: promptBytes + UNSEEN_TOKENS, outputTokens });
    announce(run, grant);
    if (grant.outcome === "granted") {
      const fallback = grant.fallbackModel;
      const used = fallback ? await ledger.modelOf(fallback) : model;
      const mayCallTools = grant.action !== "without_tools";
      return {
        kind: "admitted",
        model: used,
        options: boundedOptions(options, { outputTokens, fallback, mayCallTools }),
        mayCallTools,
        settle: (end, writer) =>
          settle(run, ledger, { grant: grant.number, stepIndex, model: used, promptBytes }, end, writer),
      };
    }
    if (grant.outcome === "spent" || effects.now() >= giveUpAt) return { kind: "refused" };
    await pause(effects, ASK_AGAIN_MS * (0.5 + effects.random()), run.thinking);
    throwIfAbandoned(run.input.signal);
    if (run.thinking.aborted) return { kind: "stopped" };
  }
}

/** Staff see in the log when a budget begins to hold the run back, and when it does so more. */
function announce(run: EngineRun, { leading }: Grant): void {
  if (!leading || RANK[leading.action] <= RANK[run.announced.action]) return;
  run.announced.action = leading.action;
  run.effects.emit(custom("budget.reached", leading), "staff");
}

const RANK: Record<BudgetAction, number> = { none: 0, warn: 1, fallback: 2, without_tools: 3, stop: 4 };

function boundedOptions(
  options: LanguageModelV4CallOptions,
  {
    outputTokens,
    fallback,
    mayCallTools,
  }: { outputTokens: number; fallback: ModelChoice | null; mayCallTools: boolean },
): LanguageModelV4CallOptions {
  const { temperature, topP, ...others } = options;
  const settings = fallback ? fallback.settings : { temperature, topP };
  return {
    ...others,
    maxOutputTokens: Math.min(outputTokens, fallback?.settings.maxOutputTokens ?? outputTokens),
    ...(settings.temperature === undefined ? {} : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? {} : { topP: settings.topP }),
    // They stay described: vendors refuse a history with calls of tools that there are not.
    ...(mayCallTools || !options.tools ? {} : { toolChoice: { type: "none" } as const }),
  };
}

async function settle(
  run: EngineRun,
  ledger: Ledger,
  call: { grant: number; stepIndex: number; model: ModelProvider; promptBytes: number },
  end: TurnEnd | null,
  writer: StepWriter,
): Promise<void> {
  const { stepIndex } = call;
  const settling = ledger.settle(call.grant, { stepIndex, ...usageOf(call, end, writer) });
  // A run that is no longer this worker's is given back without waiting for it.
  if (!run.input.signal.aborted) await settling;
}

/** What the vendor says; of a call that was cut short, what was sent and what had come. */
function usageOf(
  { model, promptBytes }: { model: ModelProvider; promptBytes: number },
  end: TurnEnd | null,
  writer: StepWriter,
): { usage: TokenUsage; isEstimate: boolean } {
  const none: TokenUsage = { provider: model.provider, model: model.modelId };
  if (end?.kind === "complete" && end.usage && tokensOf([end.usage]) > 0)
    return { usage: end.usage, isEstimate: false };
  const written = writer.text.length + writer.calls.reduce((sum, call) => sum + call.argumentsText.length, 0);
  // Refused before it began: nobody charges for that.
  if (end === null || (end.kind === "failed" && written === 0)) return { usage: none, isEstimate: false };
  const inputTokens = Math.ceil(promptBytes / BYTES_A_TOKEN);
  const outputTokens = Math.ceil(written / BYTES_A_TOKEN);
  return { usage: { ...none, inputTokens, outputTokens, totalTokens: inputTokens + outputTokens }, isEstimate: true };
}
