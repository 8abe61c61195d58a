/** Zod schemas of request bodies. Servers only: browsers import the types in `resources.ts`. */
import { z } from "zod";
import { cleanText } from "../clean-text.ts";

/** Longest message a visitor may send, in UTF-16 units. */
export const MAX_MESSAGE_LENGTH = 32_000;

const text = (max: number) => z.string().max(max).transform(cleanText);
const filled = (max: number) => text(max).refine((value) => value.trim() !== "", "must not be empty");

export const visitorSessionRequest = z.strictObject({
  publishableKey: z.string().min(1).max(200),
  identityToken: z.string().max(8_000).optional(),
  visitorToken: z.string().max(8_000).optional(),
  /** Ends the session of `visitorToken`, and begins another as a new visitor. */
  reset: z.boolean().optional(),
  /** What a site's challenge asked for. */
  proof: z
    .strictObject({
      challenge: z.string().min(1).max(1_000),
      solution: z.string().regex(/^[0-9]{1,20}$/, "must be digits"),
    })
    .optional(),
});

export const conversationRequest = z.strictObject({ agentId: z.string().max(100).optional() });

export const messageRequest = z.strictObject({
  clientMessageId: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[\x21-\x7e]+$/, "must be printable ASCII without spaces"),
  text: filled(MAX_MESSAGE_LENGTH),
  attachments: z.array(z.unknown()).max(0, "attachments are not supported yet").optional(),
});

/** How visitors read who writes. */
const operatorName = filled(100).optional();

export const takeoverRequest = z.strictObject({ name: operatorName });

export const operatorMessageRequest = z.strictObject({
  text: filled(MAX_MESSAGE_LENGTH),
  clientMessageId: messageRequest.shape.clientMessageId.optional(),
  name: operatorName,
});

export const runRequest = z.strictObject({
  agentId: z.string().max(100),
  input: filled(MAX_MESSAGE_LENGTH),
  conversationId: z.string().max(100).optional(),
  queueClass: z.enum(["priority", "standard"]).optional(),
});

export const resumeRequest = z.strictObject({
  interruptId: z.string().max(100),
  decision: z.enum(["approve", "decline", "result", "error", "retry", "done", "abort"]),
  payload: z.unknown().optional(),
});

/** As the page registered it; models call it `page_<name>`. One that cannot be offered is left out with a reason. */
const clientTool = z.strictObject({
  name: z.string().max(200),
  description: z.string().max(100_000),
  parameters: z.record(z.string(), z.unknown()).default({ type: "object" }),
  resultSchema: z.record(z.string(), z.unknown()).optional(),
});

export const clientToolsRequest = z.strictObject({
  pageId: z.string().min(1).max(100),
  tools: z.array(clientTool).max(100),
});

const toolPolicy = z.enum(["auto", "approve", "off"]);

/** Which model answers. */
export const modelChoice = z.strictObject({
  provider: z.enum(["auto", "openai", "anthropic", "openai-compatible", "extractive"]),
  name: z.string().min(1).max(200).nullable().default(null),
  settings: z
    .strictObject({
      temperature: z.number().min(0).max(2).optional(),
      topP: z.number().min(0).max(1).optional(),
      maxOutputTokens: z.int().min(1).max(1_000_000).optional(),
      baseUrl: z
        .url({ protocol: /^https?$/ })
        .max(2_000)
        .optional(),
    })
    .default({}),
});

/** The fields of an agent, without defaults: a PATCH replaces the fields it names and leaves the others. */
const agentFields = {
  instructions: text(64_000),
  greeting: text(1_000).nullable(),
  suggestions: z.array(filled(200)).max(6),
  model: modelChoice,
  toolkits: z
    .array(
      z.strictObject({
        toolkit: z.string().min(1).max(100),
        tools: z.record(z.string().max(200), toolPolicy).default({}),
        defaultPolicy: toolPolicy.default("auto"),
        approvals: z
          .strictObject({
            by: z.enum(["anyone", "visitor", "operator"]).default("anyone"),
            expiresInSeconds: z.int().min(60).max(2_592_000).default(86_400),
          })
          .optional(),
        settings: z.record(z.string(), z.unknown()).default({}),
      }),
    )
    .max(50),
  knowledge: z.strictObject({ enabled: z.boolean(), maxResults: z.int().min(1).max(20).default(5) }),
  doubleSend: z.enum(["queue", "interrupt", "reject"]),
  limits: z.strictObject({
    maxSteps: z.int().min(1).max(100).default(12),
    maxTokens: z.int().min(1).max(10_000_000).default(200_000),
    maxCostMicros: z.int().min(0).nullable().default(null),
    maxSeconds: z.int().min(1).max(86_400).default(300),
  }),
  queueClass: z.enum(["priority", "standard"]),
};

/** What a version of an agent says, complete; every field has a default. */
export const agentConfig = z.strictObject({
  instructions: agentFields.instructions.default("You are a helpful assistant."),
  greeting: agentFields.greeting.default(null),
  suggestions: agentFields.suggestions.default([]),
  model: agentFields.model.prefault({ provider: "auto" }),
  toolkits: agentFields.toolkits.default([]),
  knowledge: agentFields.knowledge.prefault({ enabled: true }),
  doubleSend: agentFields.doubleSend.default("queue"),
  limits: agentFields.limits.prefault({}),
  queueClass: agentFields.queueClass.default("priority"),
});

export const agentCreateRequest = agentConfig.extend({ name: filled(200) });
export const agentUpdateRequest = z.strictObject({ ...agentFields, name: filled(200) }).partial();

/** Most results that a fork may be given, and the longest of them in UTF-16 units: as long as a model is given any. */
const MAX_GIVEN_RESULTS = 100;
const MAX_RESULT_LENGTH = 32_000;

export const forkRequest = z.strictObject({
  /** The event from which the run goes on; where it began by default. */
  atSeq: z.int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  changes: z
    .strictObject({
      instructions: agentFields.instructions.optional(),
      model: agentFields.model.optional(),
      /** In place of the message that the run answers. */
      message: filled(MAX_MESSAGE_LENGTH).optional(),
      /** By tool call of the original run. */
      toolResults: z
        .record(z.string().max(100), text(MAX_RESULT_LENGTH))
        .refine((results) => Object.keys(results).length <= MAX_GIVEN_RESULTS, `must be at most ${MAX_GIVEN_RESULTS}`)
        .optional(),
      reuseToolResults: z.boolean().default(true),
      allowSideEffects: z.boolean().default(false),
    })
    .prefault({}),
});
