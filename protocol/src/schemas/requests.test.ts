import { describe, expect, test } from "vitest";
import {
  agentConfig,
  agentCreateRequest,
  agentUpdateRequest,
  conversationRequest,
  MAX_MESSAGE_LENGTH,
  messageRequest,
  resumeRequest,
  runRequest,
  visitorSessionRequest,
} from "./requests.ts";

const message = (text: unknown, extra: object = {}) =>
  messageRequest.safeParse({ clientMessageId: "m1", text, ...extra });

describe("a message", () => {
  test("may be as long as the limit and not longer", () => {
    expect(message("a".repeat(MAX_MESSAGE_LENGTH)).success).toBe(true);
    expect(message("a".repeat(MAX_MESSAGE_LENGTH + 1)).success).toBe(false);
  });

  test.each(["", "   ", "\n\t", " \u00a0\ufeff "])("%j is empty", (text) => {
    expect(message(text).success).toBe(false);
  });

  test.each([null, 1, {}, ["a"], undefined])("%j is no text", (text) => {
    expect(message(text).success).toBe(false);
  });

  test("NUL and lone surrogates become U+FFFD; whole pairs stay", () => {
    expect(message("a\u0000b").data?.text).toBe("a\ufffdb");
    expect(message("\ud800a\udc00").data?.text).toBe("\ufffda\ufffd");
    expect(message("👋🏽 ünï\u2028").data?.text).toBe("👋🏽 ünï\u2028");
  });

  test("is kept as it was written, spaces too", () => {
    expect(message("  hello \n").data?.text).toBe("  hello \n");
  });

  test.each(["", "a b", "a\n", "ä", "a".repeat(129), "\u0000"])("%j is no clientMessageId", (clientMessageId) => {
    expect(message("hi", { clientMessageId }).success).toBe(false);
  });

  test("takes a uuid and any printable ASCII as clientMessageId", () => {
    for (const clientMessageId of [crypto.randomUUID(), "~!@#$%", "a".repeat(128)]) {
      expect(message("hi", { clientMessageId }).success).toBe(true);
    }
  });

  test("refuses fields it does not know, and attachments until there are any", () => {
    expect(message("hi", { role: "assistant" }).success).toBe(false);
    expect(message("hi", { attachments: [] }).success).toBe(true);
    expect(message("hi", { attachments: [{}] }).success).toBe(false);
  });
});

test("a run needs an agent and an input; everything else is optional", () => {
  expect(runRequest.safeParse({ agentId: "agent_1", input: "hi" }).success).toBe(true);
  expect(runRequest.safeParse({ agentId: "agent_1", input: " " }).success).toBe(false);
  expect(runRequest.safeParse({ input: "hi" }).success).toBe(false);
  expect(runRequest.safeParse({ agentId: "agent_1", input: "hi", queueClass: "urgent" }).success).toBe(false);
});

test("a decision is one of those there are", () => {
  expect(
    resumeRequest.safeParse({ interruptId: "int_1", decision: "retry", payload: { any: ["thing"] } }).success,
  ).toBe(true);
  expect(resumeRequest.safeParse({ interruptId: "int_1", decision: "perhaps" }).success).toBe(false);
});

test("a visitor session and a conversation take no strange fields", () => {
  expect(visitorSessionRequest.safeParse({ publishableKey: "pk_1" }).success).toBe(true);
  expect(visitorSessionRequest.safeParse({ publishableKey: "" }).success).toBe(false);
  expect(visitorSessionRequest.safeParse({ publishableKey: "pk_1", tenantId: "tenant_1" }).success).toBe(false);
  expect(conversationRequest.safeParse({}).success).toBe(true);
  expect(conversationRequest.safeParse({ visitorId: "visitor_1" }).success).toBe(false);
});

describe("an agent", () => {
  test("is complete when made: every field has its default", () => {
    expect(agentConfig.parse({})).toEqual({
      instructions: "You are a helpful assistant.",
      greeting: null,
      suggestions: [],
      model: { provider: "auto", name: null, settings: {} },
      toolkits: [],
      knowledge: { enabled: true, maxResults: 5 },
      doubleSend: "queue",
      limits: { maxSteps: 12, maxTokens: 200_000, maxCostMicros: null, maxSeconds: 300 },
      queueClass: "priority",
    });
  });

  test("changes only in the fields a PATCH names: no default creeps in", () => {
    expect(agentUpdateRequest.parse({})).toEqual({});
    expect(agentUpdateRequest.parse({ name: "New" })).toEqual({ name: "New" });
    expect(agentUpdateRequest.parse({ greeting: null })).toEqual({ greeting: null });
    expect(agentUpdateRequest.safeParse({ name: "" }).success).toBe(false);
    expect(agentUpdateRequest.safeParse({ publishedVersion: 2 }).success).toBe(false);
  });

  test("replaces a named field in whole: its own parts have their defaults", () => {
    expect(agentUpdateRequest.parse({ limits: { maxSteps: 3 } })).toEqual({
      limits: { maxSteps: 3, maxTokens: 200_000, maxCostMicros: null, maxSeconds: 300 },
    });
  });

  test.each([
    { instructions: "a".repeat(64_001) },
    { suggestions: Array.from({ length: 7 }, () => "a") },
    { suggestions: [" "] },
    { model: { provider: "unheard-of" } },
    { model: { provider: "openai", settings: { temperature: 3 } } },
    { model: { provider: "openai", settings: { baseUrl: "file:///etc/passwd" } } },
    { model: { provider: "openai", settings: { apiKey: "sk" } } },
    { limits: { maxSteps: 0 } },
    { limits: { maxSteps: 1.5 } },
    { knowledge: { enabled: true, maxResults: 21 } },
    { doubleSend: "ignore" },
    { queueClass: "urgent" },
    { toolkits: Array.from({ length: 51 }, () => ({ toolkit: "http" })) },
    { toolkits: [{ toolkit: "http", defaultPolicy: "always" }] },
  ])("refuses %j", (fields) => {
    expect(agentUpdateRequest.safeParse(fields).success).toBe(false);
    expect(agentCreateRequest.safeParse({ name: "Agent", ...fields }).success).toBe(false);
  });
});
