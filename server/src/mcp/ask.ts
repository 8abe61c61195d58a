/** The one tool that an agent offers to other assistants: to be asked. One call is one run. */
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import type { Ctx } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { conversationState } from "@agent-engine/core/events/conversation-state.ts";
import { idempotent } from "@agent-engine/core/idempotency/idempotent.ts";
import { cancelRun } from "@agent-engine/core/runs/cancel-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { startRun } from "@agent-engine/core/runs/start-run.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { Agent } from "@agent-engine/protocol/resources.ts";
import { runRequest } from "@agent-engine/protocol/schemas/requests.ts";
import type { Principal } from "../http/request.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";
import type { EventSource } from "../realtime/event-stream.ts";
import { audienceOf } from "../realtime/audience.ts";
import { followRun } from "./follow-run.ts";

/** Longer than any proxy waits. The run goes on after it. */
const MAX_WAIT_MS = 15 * 60_000;

export interface Asker {
  ctx: Ctx;
  principal: Principal;
  agent: Agent;
  events: EventSource;
  limiter: Pick<RateLimiter, "admitCaller">;
}

export interface Question {
  arguments: Record<string, unknown>;
  /** The same call again is the same run. */
  idempotencyKey: string | null;
  onText: (text: string) => void;
  /** Whoever asked does not want the answer any more: the run is cancelled. */
  signal: AbortSignal;
}

export const ASK_TOOL = {
  name: "ask",
  inputSchema: {
    type: "object",
    properties: {
      message: { type: "string", minLength: 1, description: "What to ask or tell the agent, in full sentences." },
      conversationId: {
        type: "string",
        description: "Goes on with an earlier conversation: the id that its answer came with. Left out: a new one.",
      },
    },
    required: ["message"],
    additionalProperties: false,
  },
  outputSchema: {
    type: "object",
    properties: {
      conversationId: { type: "string" },
      runId: { type: "string" },
      status: { type: "string", enum: ["completed", "waiting", "running", "failed", "cancelled"] },
      citations: {
        type: "array",
        items: {
          type: "object",
          properties: {
            number: { type: "integer" },
            title: { type: "string" },
            url: { type: ["string", "null"] },
            quote: { type: "string" },
          },
          required: ["number", "title", "url", "quote"],
        },
      },
      waitsFor: {
        type: "array",
        items: {
          type: "object",
          properties: {
            interruptId: { type: "string" },
            reason: { type: "string" },
            message: { type: "string" },
            expiresAt: { type: ["string", "null"] },
          },
          required: ["interruptId", "reason", "message", "expiresAt"],
        },
      },
    },
    required: ["conversationId", "runId", "status", "citations"],
  },
} as const;

/** Never throws: what went wrong is told to whoever asked. */
export async function ask(asker: Asker, question: Question): Promise<CallToolResult> {
  const { ctx, agent } = asker;
  let runId: string | null = null;
  try {
    const parsed = readArguments(agent.id, question.arguments);
    await asker.limiter.admitCaller("message", asker.principal, parsed.conversationId);
    const { body: submission } = await idempotent(
      ctx,
      { key: question.idempotencyKey, route: `POST /v1/agents/${agent.id}/mcp ask`, body: parsed, status: 202 },
      (inner) => startRun(inner, parsed),
    );
    runId = submission.run.id;
    return await answer(asker, question, submission.run.conversationId, submission.run.id);
  } catch (error) {
    if (question.signal.aborted && runId !== null) {
      await cancelRun(ctx, runId).catch((failed: unknown) => {
        ctx.services.log.warn({ err: failed, runId }, "a run that nobody waits for could not be cancelled");
      });
      return refusal("Cancelled.");
    }
    if (error instanceof ProblemError && error.code !== "internal") return refusal(error.detail);
    ctx.services.log.error({ err: error, correlationId: ctx.correlationId }, "an agent could not be asked");
    return refusal(`Something went wrong on our side. Quote ${ctx.correlationId} when you ask about it.`);
  }
}

function readArguments(agentId: string, { message, conversationId, ...others }: Record<string, unknown>) {
  const parsed = runRequest.safeParse({ agentId, input: message, conversationId });
  const [unknown] = Object.keys(others);
  if (parsed.success && unknown === undefined) {
    const { input, conversationId: known } = parsed.data;
    return { agentId, input, ...(known === undefined ? {} : { conversationId: known }) };
  }
  const problem = parsed.error?.issues[0];
  const place = problem?.path[0] === "input" ? "message" : String(problem?.path[0] ?? unknown);
  throw new ProblemError("invalid_request", `${place}: ${problem?.message ?? "there is no such argument"}.`);
}

async function answer(
  { ctx, principal, events }: Asker,
  { onText, signal }: Question,
  conversationId: string,
  runId: string,
): Promise<CallToolResult> {
  const timeout = AbortSignal.timeout(MAX_WAIT_MS);
  const end = await followRun(events, principal, {
    conversationId,
    runId,
    isWaiting: async () => (await getRun(ctx, runId)).status === "waiting",
    onText,
    signal: AbortSignal.any([signal, timeout]),
  }).catch((error: unknown) => {
    if (signal.aborted || !timeout.aborted) throw error;
    return "gone" as const;
  });
  const state = await conversationState(ctx, { conversationId }, audienceOf(ctx.actor));
  const said = state.messages.filter((message) => message.runId === runId && message.role === "assistant");
  const text = said.map((message) => message.text).filter(Boolean);
  const citations = said
    .flatMap((message) => message.citations)
    .map(({ number, title, url, quote }) => ({ number, title, url, quote }));
  const result = (status: string, words: string[], more: Record<string, unknown> = {}): CallToolResult => ({
    content: [{ type: "text", text: words.join("\n\n") }],
    structuredContent: { conversationId, runId, status, citations, ...more },
  });
  const run = state.runs[runId];
  if (run?.status === "completed") return result("completed", text);
  if (run?.status === "failed") return { ...result("failed", [...text, run.error.message]), isError: true };
  if (run?.status === "cancelled") {
    return { ...result("cancelled", [...text, "The run was cancelled."]), isError: true };
  }
  if (run?.status === "waiting" && end === "waiting") {
    const waitsFor = run.interrupts.map(waitFor);
    const words = waitsFor.map(({ message }) => `The agent waits for a person: ${message}`);
    return result("waiting", [...text, ...words], { waitsFor });
  }
  const later = "The agent has not finished. It goes on: read the run, or ask again in the same conversation later.";
  return result("running", [...text, later]);
}

function waitFor({ id, reason, message, expiresAt }: Interrupt) {
  return { interruptId: id, reason, message: message ?? reason, expiresAt: expiresAt ?? null };
}

function refusal(text: string): CallToolResult {
  return { content: [{ type: "text", text }], isError: true };
}
