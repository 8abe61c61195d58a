import { describe, expect, it } from "vitest";
import type { LanguageModelV4Message } from "@ai-sdk/provider";
import { METADATA_KEY, type ConversationEvent } from "@agent-engine/protocol/events.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import { CONVERSATION, fold, userMessage, type Entry } from "./engine-harness.ts";
import { conversationTurns, type Turn } from "./prompt-turns.ts";
import { buildPrompt, systemPrompt } from "./prompt.ts";

const of = (runId: string | null, ...events: ConversationEvent[]): Entry[] => events.map((event) => ({ event, runId }));
const started = (runId: string): ConversationEvent => ({ type: "RUN_STARTED", threadId: CONVERSATION, runId });
const step = (index: number): ConversationEvent => ({ type: "STEP_STARTED", stepName: `step-${index}` });
const says = (messageId: string, text: string, incomplete = false): ConversationEvent[] => [
  { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
  { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
  {
    type: "TEXT_MESSAGE_END",
    messageId,
    ...(incomplete ? { metadata: { [METADATA_KEY]: { incomplete: true } } } : {}),
  },
];
const calls = (toolCallId: string, args: string, result?: string, name = "look"): ConversationEvent[] => [
  { type: "TOOL_CALL_START", toolCallId, toolCallName: name },
  { type: "TOOL_CALL_ARGS", toolCallId, delta: args },
  { type: "TOOL_CALL_END", toolCallId },
  ...(result === undefined
    ? []
    : [
        {
          type: "TOOL_CALL_RESULT" as const,
          messageId: `r-${toolCallId}`,
          toolCallId,
          content: result,
          role: "tool" as const,
        },
      ]),
];
const messages = (entries: Entry[], runId: string) =>
  conversationTurns(fold(entries), runId).flatMap((turn) => turn.messages);
const user = (text: string) => ({ role: "user", content: [{ type: "text", text }] });
const assistant = (...content: unknown[]) => ({ role: "assistant", content });
const text = (value: string) => ({ type: "text", text: value });

describe("the conversation as a model reads it", () => {
  it("groups a step's text with its calls and follows them with their results", () => {
    const entries = of(
      "run_1",
      ...userMessage("m1", "Where?"),
      started("run_1"),
      step(0),
      ...says("m2", "Let me see."),
      ...calls("c1", '{"a":1}', "one"),
      ...calls("c2", "{}", "two"),
      { type: "STEP_FINISHED", stepName: "step-0" },
      step(1),
      ...says("m3", "There."),
    );
    expect(messages(entries, "run_1")).toEqual([
      user("Where?"),
      assistant(
        text("Let me see."),
        { type: "tool-call", toolCallId: "c1", toolName: "look", input: { a: 1 } },
        { type: "tool-call", toolCallId: "c2", toolName: "look", input: {} },
      ),
      {
        role: "tool",
        content: [
          { type: "tool-result", toolCallId: "c1", toolName: "look", output: { type: "text", value: "one" } },
          { type: "tool-result", toolCallId: "c2", toolName: "look", output: { type: "text", value: "two" } },
        ],
      },
      assistant(text("There.")),
    ]);
  });

  it("keeps what was said before a cancel, and gives calls without a result a synthetic one", () => {
    const entries = of(
      "run_1",
      ...userMessage("m1", "Go"),
      started("run_1"),
      step(0),
      ...says("m2", "I was about", true),
      ...calls("c1", '{"broken'),
    );
    expect(messages(entries, "run_1")).toMatchObject([
      user("Go"),
      assistant(text("I was about"), { type: "tool-call", input: {} }),
      { role: "tool", content: [{ output: { value: expect.stringContaining("interrupted") } }] },
    ]);
  });

  it("says which words are a person's", () => {
    const operator: ConversationEvent[] = [
      { type: "TEXT_MESSAGE_START", messageId: "m2", role: "assistant", name: "Mia" },
      { type: "TEXT_MESSAGE_CONTENT", messageId: "m2", delta: "I take over." },
      { type: "TEXT_MESSAGE_END", messageId: "m2" },
    ];
    const entries = [
      ...of("run_1", ...userMessage("m1", "Hi")),
      ...of(null, ...operator),
      ...of("run_2", ...userMessage("m3", "And?")),
    ];
    expect(messages(entries, "run_2").slice(-2)).toEqual([
      assistant(text("[Mia, a person from the team, wrote:] I take over.")),
      user("And?"),
    ]);
  });

  it("puts answers after their questions when a visitor sends twice, and leaves later questions out", () => {
    const entries = [
      ...of("run_1", ...userMessage("m1", "One?"), started("run_1")),
      ...of("run_2", ...userMessage("m2", "Two?")),
      ...of("run_3", ...userMessage("m3", "Three?")),
      ...of("run_1", step(0), ...says("m4", "First.")),
      ...of("run_1", { type: "RUN_FINISHED", threadId: CONVERSATION, runId: "run_1", outcome: { type: "success" } }),
      ...of("run_2", started("run_2")),
    ];
    expect(messages(entries, "run_2")).toEqual([user("One?"), assistant(text("First.")), user("Two?")]);
  });

  it("makes names that a model invented acceptable to every vendor", () => {
    const entries = of(
      "run_1",
      ...userMessage("m1", "Go"),
      started("run_1"),
      step(0),
      ...calls("c1", "{}", "x", "no such.tool"),
    );
    expect(messages(entries, "run_1")[1]).toMatchObject({ content: [{ toolName: "no_such_tool" }] });
  });
});

describe("the prompt's budget", () => {
  const turn = (name: string): Turn => ({
    runId: name,
    messages: [user(`${name} `.repeat(50)), assistant(text("ok"))] as LanguageModelV4Message[],
  });
  const toolMessage = (value: string): LanguageModelV4Message => ({
    role: "tool",
    content: [{ type: "tool-result", toolCallId: "c", toolName: "t", output: { type: "text", value } }],
  });

  it("drops the oldest turns whole", () => {
    const prompt = buildPrompt("sys", [turn("aaaa"), turn("bbbb"), turn("cccc")], [], 600);
    expect(prompt.map((message) => JSON.stringify(message.content).slice(0, 30))).toEqual([
      '"sys"',
      expect.stringContaining("bbbb"),
      expect.stringContaining("ok"),
      expect.stringContaining("cccc"),
      expect.stringContaining("ok"),
    ]);
  });

  it("never drops the current turn, but forgets its oldest results", () => {
    const steps = [toolMessage("x".repeat(500)), toolMessage("y".repeat(500))];
    const prompt = buildPrompt("sys", [turn("aaaa"), turn("bbbb")], steps, 900);
    expect(prompt).toHaveLength(5);
    expect(prompt.at(-2)).toMatchObject({ content: [{ output: { value: expect.stringContaining("dropped") } }] });
    expect(prompt.at(-1)).toMatchObject({ content: [{ output: { value: "y".repeat(500) } }] });
  });

  it("begins with a visitor's message", () => {
    const alone: Turn = { runId: null, messages: [assistant(text("Hello")) as LanguageModelV4Message] };
    expect(buildPrompt("sys", [alone, turn("aaaa")], []).map((message) => message.role)).toEqual([
      "system",
      "user",
      "assistant",
    ]);
  });

  it("opens with the agent's instructions and how to cite", () => {
    const agent = agentConfig.parse({ instructions: "Be brief." });
    expect(systemPrompt(agent, "Ada", "knowledge_search")).toMatch(
      /^Be brief\.\n\nYour name is Ada\.\n\n.*knowledge_search.*\[1\]/,
    );
    expect(systemPrompt(agent, "Ada", null)).not.toContain("[1]");
  });
});
