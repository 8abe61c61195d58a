/** For tests: runs the engine against effects in memory and checks what every run must keep. */
import { from, lastValueFrom, toArray } from "rxjs";
import { verifyEvents } from "@ag-ui/client";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolAnswer, ToolDescription, ToolRequest } from "@agent-engine/core/toolkits/toolkit.ts";
import type { Audience, Envelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { argumentCheck } from "@agent-engine/core/toolkits/argument-check.ts";
import type { BoundTool } from "./bound-tool.ts";
import type { Circuit } from "./circuit.ts";
import type { EngineEffects, RecordedStep, ToolInvocation } from "./effects.ts";
import type { RateLimit } from "./rate-limit.ts";
import { runEngine, type EngineInput, type EngineResult } from "./engine.ts";
import { defaultRetryPolicy } from "./retry-policy.ts";
import { scriptedModel, type Action, type ScriptedModel } from "./scripted-model.ts";
import type { ToolOutcome } from "./tool-outcome.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const RUN = "run_00000000000000000000000000000001";
export const CONVERSATION = "conv_00000000000000000000000000000001";

type FakeCall = Omit<ToolRequest, "context">;

export class ToolFailed extends Error {
  readonly failure: Failure;
  constructor(failure: Partial<Failure>) {
    super("tool failed");
    this.failure = {
      kind: "transient",
      code: "unavailable",
      detail: "no",
      requestId: null,
      retryAfterMs: null,
      ...failure,
    };
  }
}

export interface FakeTool {
  name: string;
  effect?: ToolDescription["effect"];
  policy?: BoundTool["policy"];
  parameters?: Record<string, unknown>;
  givesSources?: true;
  visible?: boolean;
  circuit?: Circuit;
  rateLimit?: RateLimit;
  call?: (request: FakeCall, clock: VirtualClock) => Promise<ToolAnswer>;
  recall?: BoundTool["recall"];
  account?: BoundTool["account"];
  ask?: BoundTool["ask"];
  approval?: BoundTool["approval"];
}

export interface Scenario {
  scripts: Action[][];
  tools?: FakeTool[];
  /** What was said before; the run's own question is added. */
  before?: ConversationEvent[];
  question?: string;
  agent?: Record<string, unknown>;
  input?: Partial<EngineInput>;
  /** Called with every effect; may throw to reject it, or abort. */
  onEffect?: (name: string, count: number, cancel: (reason?: unknown) => void) => void;
  random?: () => number;
  /** The model's. */
  circuit?: Circuit;
  cancelAfterMs?: number;
  /** Ids made before: a run that goes on makes new ones. */
  usedIds?: number;
}

export interface Played {
  result: EngineResult | null;
  error: unknown;
  /** What the engine emitted, in order. */
  events: ConversationEvent[];
  audiences: Audience[];
  state: ConversationState;
  model: ScriptedModel;
  steps: RecordedStep[];
  begun: ToolInvocation[];
  outcomes: { invocation: ToolInvocation; outcome: ToolOutcome }[];
  /** Of attempts that did not end their call. */
  failures: { invocation: ToolInvocation; failure: Failure }[];
  /** Calls that reached a tool: name and key. */
  ledger: { name: string; key: string; arguments: unknown }[];
  clock: VirtualClock;
}

export async function play(scenario: Scenario): Promise<Played> {
  const clock = new VirtualClock();
  const model = {
    ...scriptedModel(clock, scenario.scripts),
    ...(scenario.circuit ? { circuit: scenario.circuit } : {}),
  };
  const abort = new AbortController();
  const played: Omit<Played, "state"> = {
    result: null,
    error: null,
    events: [],
    audiences: [],
    model,
    steps: [],
    begun: [],
    outcomes: [],
    failures: [],
    ledger: [],
    clock,
  };
  let count = 0;
  const effect = (name: string) => scenario.onEffect?.(name, count++, (reason) => abort.abort(reason));
  let ids = scenario.usedIds ?? 0;
  const effects: EngineEffects = {
    emit(event, audience = "all") {
      played.events.push(event);
      played.audiences.push(audience);
      effect("emit");
    },
    flush: async () => effect("flush"),
    async recordToolStep(step) {
      played.steps.push(structuredClone(step));
      effect("recordToolStep");
    },
    async beginInvocation(invocation) {
      played.begun.push({ ...invocation });
      effect("beginInvocation");
    },
    async recordFailure(invocation, failure) {
      played.failures.push({ invocation: { ...invocation }, failure });
    },
    async recordResult(invocation, outcome) {
      played.outcomes.push({ invocation: { ...invocation }, outcome });
      effect("recordResult");
    },
    assertLease: () => effect("assertLease"),
    now: clock.now,
    newId: (prefix) => `${prefix}_${String(++ids).padStart(32, "0")}`,
    sleep: clock.sleep,
    random: scenario.random ?? (() => 0.5),
  };
  const question: ConversationEvent[] = userMessage("msg_question", scenario.question ?? "What is it?");
  const history = fold([
    ...(scenario.before ?? []).map((event) => ({ event, runId: "run_before" })),
    ...question.map((event) => ({ event, runId: RUN })),
    { event: { type: "RUN_STARTED", threadId: CONVERSATION, runId: RUN }, runId: RUN },
  ]);
  const input: EngineInput = {
    runId: RUN,
    conversationId: CONVERSATION,
    agent: agentConfig.parse(scenario.agent ?? {}),
    agentName: "Ada",
    history,
    stepIndex: 0,
    signal: abort.signal,
    attempt: 1,
    ...scenario.input,
  };
  const tools = (scenario.tools ?? []).map((tool) => fakeTool(tool, clock, played.ledger));
  if (scenario.cancelAfterMs !== undefined) void clock.after(scenario.cancelAfterMs, () => abort.abort());
  try {
    played.result = await clock.drive(runEngine(input, { effects, model, tools, retryPolicy: defaultRetryPolicy }));
  } catch (error) {
    played.error = error;
  }
  const state = reduce(
    input.history,
    envelopes(
      played.events.map((event) => ({ event, runId: RUN })),
      input.history.lastSeq,
    ),
  );
  return { ...played, state };
}

function fakeTool(tool: FakeTool, clock: VirtualClock, ledger: Played["ledger"]): BoundTool {
  const parameters = tool.parameters ?? { type: "object" };
  return {
    toolkit: "fake",
    host: "tools.example",
    ...(tool.circuit ? { circuit: tool.circuit } : {}),
    ...(tool.rateLimit ? { rateLimit: tool.rateLimit } : {}),
    policy: tool.policy ?? "auto",
    deadlineMs: 60_000,
    description: {
      name: tool.name,
      description: `Fake ${tool.name}`,
      parameters,
      effect: tool.effect ?? "read",
      scopes: [],
      connection: tool.account ? "visitor" : "none",
      visibility: { arguments: tool.visible ?? false, results: tool.visible ?? false },
      ...(tool.givesSources ? { givesSources: true } : {}),
    },
    checkArguments: argumentCheck(parameters),
    ...(tool.recall ? { recall: tool.recall } : {}),
    ...(tool.account ? { account: tool.account } : {}),
    ...(tool.approval ? { approval: tool.approval } : {}),
    ...(tool.ask ? { ask: tool.ask } : {}),
    call(request) {
      ledger.push({ name: tool.name, key: request.idempotencyKey, arguments: request.arguments });
      return tool.call?.(request, clock) ?? Promise.resolve({ content: { ok: tool.name } });
    },
    classifyFailure: (error) =>
      error instanceof ToolFailed
        ? error.failure
        : { kind: "unknown_outcome", code: "unknown", detail: String(error), requestId: null, retryAfterMs: null },
  };
}

export function userMessage(messageId: string, text: string): ConversationEvent[] {
  return [
    { type: "TEXT_MESSAGE_START", messageId, role: "user" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
    { type: "TEXT_MESSAGE_END", messageId },
  ];
}

export interface Entry {
  event: ConversationEvent;
  runId: string | null;
}

export function fold(entries: readonly Entry[]): ConversationState {
  return reduce(initialState, envelopes(entries, 0));
}

export function envelopes(entries: readonly Entry[], lastSeq: number): Envelope[] {
  return entries.map(({ event, runId }, index) => ({
    seq: lastSeq + index + 1,
    conversationId: CONVERSATION,
    runId,
    at: "2026-01-01T00:00:00.000Z",
    correlationId: "test",
    event,
  }));
}

/** Throws when AG-UI's own client would refuse the run. */
export async function verifyRun(played: Played): Promise<void> {
  const { result, events } = played;
  const outcome =
    result?.kind === "interrupt" ? { type: "interrupt", interrupts: result.interrupts } : { type: "success" };
  const last =
    result?.kind === "failed"
      ? { type: "RUN_ERROR", message: result.message, code: result.code }
      : { type: "RUN_FINISHED", threadId: CONVERSATION, runId: RUN, outcome };
  const run = [{ type: "RUN_STARTED", threadId: CONVERSATION, runId: RUN }, ...events, last];
  const verified = from(run as never[]).pipe(verifyEvents(false), toArray());
  await lastValueFrom(verified);
}

/** The text the visitor ends up with. */
export function answerText(played: Played): string {
  return played.state.messages
    .filter((message) => message.runId === RUN && message.role === "assistant")
    .map((message) => message.text)
    .join("|");
}

export function eventTypes(events: readonly ConversationEvent[]): string[] {
  return events.map((event) => (event.type === "CUSTOM" ? event.name : event.type));
}
