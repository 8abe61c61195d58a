import type { ServerResponse } from "node:http";
import { argumentsText, sendStatus } from "./answer-parts.ts";
import { usageJson } from "./chat-chunks.ts";
import { promptTokens, type ChatRequest, type Ending, type RecordedRequest } from "./chat-request.ts";
import { numberedText, splitTokens, type ModelScript, type ModelStep } from "./model-script.ts";
import { preciseNowMs, stampToken } from "./stamps.ts";
import { StreamWire } from "./stream-wire.ts";

/** Plays a script as one JSON answer. Of the faults it knows `status`, `cut`, `stall` and `raw` (instead of the answer). */
export async function playWhole(
  response: ServerResponse,
  request: ChatRequest,
  script: ModelScript,
  record: RecordedRequest,
  id: string,
): Promise<Ending> {
  const wire = new StreamWire(response);
  if (script.firstTokenDelayMs) await wire.pause(script.firstTokenDelayMs);
  let content = "";
  let finishReason: string | null = null;
  const toolCalls: { id: string; type: string; function: { name: string; arguments: string } }[] = [];
  for (const step of script.steps) {
    if (wire.gone) return "client_gone";
    switch (step.kind) {
      case "status":
        sendStatus(response, step);
        return "fault";
      case "cut":
        await wire.cut(step.reset ?? false);
        return "fault";
      case "stall":
        await wire.pause(null);
        return "client_gone";
      case "raw":
        response.end(step.text);
        return "fault";
      case "wait":
        await wire.pause(step.ms);
        break;
      case "hold":
        await wire.until(record.released);
        break;
      case "finish":
        finishReason = step.reason;
        break;
      case "toolCall":
        toolCalls.push({
          id: step.id ?? `call_${id}_${toolCalls.length}`,
          type: "function",
          function: { name: step.name, arguments: argumentsText(step.arguments) },
        });
        break;
      case "end":
      case "error":
        break;
      default: {
        const { text, tokens } = spoken(step);
        content += text;
        record.tokensSent += tokens;
      }
    }
  }
  const usage = usageJson({ promptTokens: promptTokens(request.messages), completionTokens: record.tokensSent });
  const body = {
    id: `chatcmpl-${id}`,
    object: "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model: request.model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: content === "" && toolCalls.length > 0 ? null : content,
          refusal: null,
          annotations: [],
          ...(toolCalls.length > 0 ? { tool_calls: toolCalls } : {}),
        },
        logprobs: null,
        finish_reason: finishReason ?? (toolCalls.length > 0 ? "tool_calls" : "stop"),
      },
    ],
    usage: JSON.parse(usage) as unknown,
    service_tier: "default",
    system_fingerprint: "fp_fake",
  };
  response.writeHead(200, { "content-type": "application/json", "x-request-id": `req_${id}` });
  response.end(JSON.stringify(body));
  return "completed";
}

function spoken(step: ModelStep): { text: string; tokens: number } {
  switch (step.kind) {
    case "tokens":
      return { text: numberedText(step.count), tokens: step.count };
    case "stamps":
      return {
        text: Array.from({ length: step.count }, (_, index) => stampToken(index, preciseNowMs())).join(""),
        tokens: step.count,
      };
    case "text":
      return { text: step.text, tokens: splitTokens(step.text).length };
    case "delta":
    case "splitBytes":
      return { text: step.content, tokens: 1 };
    case "splitPair":
      return { text: step.character, tokens: 1 };
    default:
      return { text: "", tokens: 0 };
  }
}
