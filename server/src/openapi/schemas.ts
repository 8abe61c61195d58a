/** The resources as schemas, for the OpenAPI document. Each is held to its type in `protocol/`. */
import { z } from "@hono/zod-openapi";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent, ForkOrigin, Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type {
  Agent,
  AgentConfig,
  AgentVersion,
  Conversation,
  Document,
  Job,
  Message,
  Page,
  Problem,
  Run,
  SentMessage,
  Submission,
  VisitorSession,
} from "@agent-engine/protocol/resources.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import { problems } from "@agent-engine/protocol/problems.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const id = (prefix: string) =>
  z.string().openapi({ pattern: `^${prefix}_[0-9a-f]{32}$`, example: `${prefix}_0198c0de00007000800000000000cafe` });

/** A page of a list, newest first. */
export function pageSchema<T>(item: z.ZodType<T>): z.ZodType<Page<T>> {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

export const problemSchema: z.ZodType<Problem> = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(Object.keys(problems) as [keyof typeof problems]),
    requestId: z.string(),
  })
  .openapi("Problem");

const forkOriginSchema: z.ZodType<ForkOrigin> = z
  .object({ runId: id("run"), conversationId: id("conv"), seq: z.int() })
  .openapi("ForkOrigin", { description: "The event that a fork began from. Only on forks, and for staff." });

export const conversationSchema: z.ZodType<Conversation> = z
  .object({
    id: id("conv"),
    agentId: id("agent"),
    visitorId: id("visitor").nullable(),
    mode: z.enum(["agent", "operator"]),
    lastSeq: z.int(),
    createdAt: time,
    forkedFrom: forkOriginSchema.optional(),
  })
  .openapi("Conversation");

export const messageSchema: z.ZodType<Message> = z
  .object({
    id: id("msg"),
    conversationId: id("conv"),
    clientMessageId: z.string().nullable(),
    role: z.enum(["user", "assistant"]),
    text: z.string(),
    createdAt: time,
  })
  .openapi("Message");

const usageSchema: z.ZodType<TokenUsage> = z
  .object({
    provider: z.string().optional(),
    model: z.string().optional(),
    inputTokens: z.int().optional(),
    outputTokens: z.int().optional(),
    totalTokens: z.int().optional(),
    reasoningTokens: z.int().optional(),
    cachedInputTokens: z.int().optional(),
  })
  .openapi("TokenUsage");

const interruptSchema: z.ZodType<Interrupt> = z
  .object({
    id: z.string(),
    reason: z.enum(["approval", "connection", "client_tool", "operator"]),
    message: z.string().optional(),
    toolCallId: z.string().optional(),
    responseSchema: z.record(z.string(), z.unknown()).optional(),
    expiresAt: time.optional(),
    metadata: z.record(z.string(), z.unknown()).optional(),
  })
  .openapi("Interrupt");

export const clientToolsSchema = z
  .object({
    expiresAt: z.string(),
    problems: z
      .array(z.object({ tool: z.string(), problem: z.string() }))
      .openapi({ description: "Tools that are not offered, by the names that the page gave them, and why." }),
  })
  .openapi("ClientTools");

export const runSchema: z.ZodType<Run> = z
  .object({
    id: id("run"),
    conversationId: id("conv"),
    agentId: id("agent"),
    status: z.enum(["queued", "running", "waiting", "completed", "failed", "cancelled"]),
    interrupts: z.array(interruptSchema),
    attempt: z.int(),
    usage: z.array(usageSchema),
    finishReason: z.enum(["stop", "limit", "cancelled", "content_filter"]).nullable(),
    error: z.object({ code: z.string(), message: z.string() }).nullable(),
    createdAt: time,
    finishedAt: time.nullable(),
    forkedFrom: forkOriginSchema.optional(),
  })
  .openapi("Run");

export const jobStateSchema = z.enum(["blocked", "pending", "dispatched", "done", "dead"]).openapi("JobState");

export const jobSchema: z.ZodType<Job> = z
  .object({
    id: z.string().openapi({ pattern: "^run_[0-9a-f]{32}-[0-9]+$", example: "run_0198c0de00007000800000000000cafe-1" }),
    runId: id("run"),
    handOver: z.int(),
    queueClass: z.enum(["priority", "standard"]),
    state: jobStateSchema,
    reason: z.string().nullable(),
    createdAt: time,
    dispatchedAt: time.nullable(),
  })
  .openapi("Job");

export const submissionSchema: z.ZodType<Submission> = z
  .object({ message: messageSchema, run: runSchema })
  .openapi("Submission");

export const sentMessageSchema: z.ZodType<SentMessage> = z
  .object({
    message: messageSchema,
    run: runSchema.nullable().openapi({ description: "Null while a person of the team has the conversation." }),
  })
  .openapi("SentMessage");

export const visitorSessionSchema: z.ZodType<VisitorSession> = z
  .object({
    visitorToken: z.string(),
    expiresAt: time,
    visitor: z.object({ id: id("visitor"), externalId: z.string().nullable(), createdAt: time }),
    site: z.object({
      id: id("site"),
      name: z.string(),
      agent: z.object({
        id: id("agent"),
        name: z.string(),
        greeting: z.string().nullable(),
        suggestions: z.array(z.string()),
        isLanguageModel: z.boolean(),
      }),
      theme: z.record(z.string(), z.string()),
    }),
  })
  .openapi("VisitorSession");

const eventSchema: z.ZodType<ConversationEvent> = z.custom<ConversationEvent>().openapi("Event", {
  type: "object",
  description:
    'An AG-UI 1.0 event; what AG-UI has no word for is `{ type: "CUSTOM", name, value }`. Ignore unknown types.',
  properties: { type: { type: "string", example: "TEXT_MESSAGE_CONTENT" } },
  required: ["type"],
  additionalProperties: true,
});

const envelopeSchema: z.ZodType<Envelope> = z
  .object({
    seq: z.int().openapi({ description: "1..n without gaps in the conversation: a reader's cursor." }),
    from: z.int().optional().openapi({ description: "Set when it stands for `from..seq` (merged deltas)." }),
    conversationId: id("conv"),
    runId: id("run").nullable(),
    at: time,
    correlationId: z.string(),
    event: eventSchema,
  })
  .openapi("Envelope");

export const eventPageSchema: z.ZodType<Page<Envelope>> = pageSchema(envelopeSchema);

export const stateSchema: z.ZodType<ConversationState> = z.custom<ConversationState>().openapi("ConversationState", {
  type: "object",
  description: "The fold of the log: what the widget shows after applying every event up to `lastSeq`.",
  properties: {
    lastSeq: { type: "integer" },
    mode: { type: "string", enum: ["agent", "operator"] },
    messages: { type: "array", items: { type: "object", additionalProperties: true } },
    toolCalls: { type: "array", items: { type: "object", additionalProperties: true } },
    runs: { type: "object", additionalProperties: { type: "object", additionalProperties: true } },
    activeRunId: { type: ["string", "null"] },
  },
  required: ["lastSeq", "mode", "messages", "toolCalls", "runs", "activeRunId"],
});

// Rebuilt here: whoever imports `protocol` first makes its schemas before zod has learned `openapi`.
const agentConfigSchema: z.ZodType<AgentConfig> = z.object(agentConfig.shape).openapi("AgentConfig");

export const agentSchema: z.ZodType<Agent> = z
  .object({
    id: id("agent"),
    name: z.string(),
    draft: agentConfigSchema,
    publishedVersion: z.int().nullable(),
    hasUnpublishedChanges: z.boolean(),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("Agent");

export const agentVersionSchema: z.ZodType<AgentVersion> = z
  .object({ agentId: id("agent"), version: z.int(), config: agentConfigSchema, publishedAt: time })
  .openapi("AgentVersion");

export const documentSchema: z.ZodType<Document> = z
  .object({
    id: id("doc"),
    title: z.string(),
    url: z.string().nullable(),
    status: z.enum(["queued", "processing", "ready", "failed"]),
    error: z.string().nullable(),
    createdAt: time,
  })
  .openapi("Document");
