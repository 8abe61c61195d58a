import { preciseNowMs } from "@agent-engine/testing/stamps.ts";
import { send } from "./http.ts";
import type { Answer, OnDelta } from "./visitor.ts";

/** The raw baseline: the model asked without anything in between, its stream parsed as any client would. */
export async function askModel(modelUrl: string, text: string, onDelta?: OnDelta): Promise<Answer> {
  const sentMs = performance.now();
  const response = await send(`${modelUrl}/chat/completions`, {
    model: "fake-model",
    stream: true,
    stream_options: { include_usage: true },
    messages: [{ role: "user", content: text }],
  });
  response.setEncoding("utf8");
  let firstTokenMs = Number.NaN;
  let finished = false;
  let answer = "";
  let rest = "";
  for await (const part of response) {
    const lines = (rest + String(part)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") {
        finished = true;
        continue;
      }
      const chunk = JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[] };
      const delta = chunk.choices[0]?.delta.content;
      if (!delta) continue;
      if (answer === "") firstTokenMs = performance.now() - sentMs;
      answer += delta;
      onDelta?.(delta, preciseNowMs());
    }
  }
  if (!finished) throw new Error("the model's stream ended early");
  return { firstTokenMs, completionMs: performance.now() - sentMs, text: answer };
}
