/**
 * What the engine tells a model of conversations that older engines wrote. Unlike the logs themselves, the prompts may
 * change with the engine: then `vitest -u` writes them anew, for somebody to read.
 */
import type { LanguageModelV4Message } from "@ai-sdk/provider";
import { describe, expect, test } from "vitest";
import { foldFor, readGoldenLogs } from "@agent-engine/testing/golden-logs.ts";
import { conversationTurns } from "./prompt-turns.ts";
import { buildPrompt } from "./prompt.ts";

function written(message: LanguageModelV4Message): string {
  if (message.role === "system") return `system: ${message.content}`;
  const parts = message.content.map((part) => {
    if (part.type === "text") return part.text.replace(/ @@model .*/, "");
    if (part.type === "tool-call") return `${part.toolCallId} ${part.toolName}(${JSON.stringify(part.input)})`;
    if (part.type === "tool-result" && part.output.type === "text") return `${part.toolCallId} → ${part.output.value}`;
    throw new Error(`a part of type ${part.type}`);
  });
  return `${message.role}: ${parts.join("\n  ")}`;
}

describe.each(readGoldenLogs())("the golden log $name", ({ name, events }) => {
  const asked = events.findLast(({ event }) => event.type === "TEXT_MESSAGE_START" && event.role === "user");
  const prompt = buildPrompt("Be kind.", conversationTurns(foldFor(events, "staff"), asked?.runId ?? ""), []);

  test("is told to a model as it ever was", async () => {
    await expect(`${prompt.map(written).join("\n")}\n`).toMatchFileSnapshot(`golden-prompts/${name}.txt`);
  });

  test("is told in a form that vendors take: the visitor first, and every call with its result", () => {
    const [system, first, ...rest] = prompt;
    expect([system?.role, first?.role]).toEqual(["system", "user"]);
    for (const [index, message] of rest.entries()) {
      if (message.role !== "assistant") continue;
      const calls = message.content.flatMap((part) => (part.type === "tool-call" ? [part.toolCallId] : []));
      const next = rest[index + 1];
      const answered = next?.role === "tool" ? next.content : [];
      const results = answered.flatMap((part) => (part.type === "tool-result" ? [part.toolCallId] : []));
      expect(results).toEqual(calls);
    }
  });
});
