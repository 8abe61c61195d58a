import type { ServerResponse } from "node:http";
import { argumentsText, errorObject, sendStatus } from "./answer-parts.ts";
import { chunkWriter, DONE } from "./chat-chunks.ts";
import { promptTokens, type ChatRequest, type Ending, type RecordedRequest } from "./chat-request.ts";
import { numberedTokenJson, splitTokens, type ModelScript } from "./model-script.ts";
import { preciseNowMs, stampToken } from "./stamps.ts";
import { StreamWire } from "./stream-wire.ts";

/** Plays a script as the streamed answer to a request. Counts tokens in `record`; resolves when nothing more will be sent. */
export async function playStream(
  response: ServerResponse,
  request: ChatRequest,
  script: ModelScript,
  record: RecordedRequest,
  id: string,
): Promise<Ending> {
  const wire = new StreamWire(response);
  const gapMs = script.gapMs ?? 0;
  if (script.firstTokenDelayMs) await wire.pause(script.firstTokenDelayMs);
  if (wire.gone) return "client_gone";
  const first = script.steps[0];
  if (first?.kind === "status") {
    sendStatus(response, first);
    return "fault";
  }
  if (first?.kind === "cut") {
    await wire.cut(first.reset ?? false);
    return "fault";
  }
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-request-id": `req_${id}`,
  });

  const includeUsage = request.stream_options?.include_usage === true;
  const chunks = chunkWriter(`chatcmpl-${id}`, request.model, Math.floor(Date.now() / 1000), includeUsage);
  /** When the next token is due; null before the first one. */
  let dueMs: number | null = null;
  let calls = 0;
  let stamps = 0;
  let finishReason: string | null = null;

  /** Counts a token that was added; paces the next one against the clock, so that lateness does not add up. */
  async function paced(full: boolean): Promise<void> {
    record.tokensSent++;
    if (gapMs === 0) {
      if (full) await wire.flush();
      return;
    }
    await wire.flush();
    const nowMs = performance.now();
    dueMs = (dueMs ?? nowMs) + gapMs;
    const waitMs = dueMs - nowMs;
    if (waitMs > 0) await wire.pause(waitMs);
  }

  wire.add(chunks.role());
  for (const step of script.steps) {
    if (wire.gone) return "client_gone";
    switch (step.kind) {
      case "tokens":
        for (let i = 0; i < step.count && !wire.gone; i++) {
          const full = wire.add(chunks.contentJson(numberedTokenJson(i)));
          if (full || gapMs > 0) await paced(full);
          else record.tokensSent++;
        }
        break;
      case "stamps":
        for (let i = 0; i < step.count && !wire.gone; i++) {
          await paced(wire.add(chunks.contentJson(`"${stampToken(stamps++, preciseNowMs())}"`)));
        }
        break;
      case "text":
        for (const token of splitTokens(step.text)) {
          if (wire.gone) break;
          await paced(wire.add(chunks.content(token)));
        }
        break;
      case "delta":
        await paced(wire.add(chunks.content(step.content)));
        break;
      case "splitPair":
        for (const half of step.character.split("")) {
          wire.add(chunks.content(half));
          await wire.flush();
        }
        record.tokensSent++;
        break;
      case "splitBytes":
        // Raw JSON strings keep characters unescaped, so that their UTF-8 bytes are cut.
        for (const byte of new TextEncoder().encode(chunks.content(step.content))) {
          await wire.bytes(Uint8Array.of(byte));
        }
        record.tokensSent++;
        break;
      case "toolCall": {
        const index = calls++;
        const callArguments = argumentsText(step.arguments);
        wire.add(chunks.toolCallStart(index, step.id ?? `call_${id}_${index}`, step.name));
        for (const fragment of fragmentsOf(callArguments, step.fragments ?? 3)) {
          await paced(wire.add(chunks.toolCallArguments(index, fragment)));
        }
        break;
      }
      case "finish":
        finishReason = step.reason;
        break;
      case "wait":
        await wire.pause(step.ms);
        dueMs = null;
        break;
      case "hold":
        await wire.until(record.released);
        dueMs = null;
        break;
      case "raw":
        wire.add(step.text);
        await wire.flush();
        break;
      case "stall":
        await wire.pause(null);
        return "client_gone";
      case "cut":
        await wire.cut(step.reset ?? false);
        return "fault";
      case "end":
        await wire.end();
        return "fault";
      case "error":
        wire.add(`data: ${JSON.stringify({ error: errorObject(step.message, step.type, step.code) })}\n\n`);
        await wire.end();
        return "fault";
      case "status":
        throw new Error("a status can only be the first step");
    }
  }
  if (wire.gone) return "client_gone";
  wire.add(chunks.finish(finishReason ?? (calls > 0 ? "tool_calls" : "stop")));
  if (includeUsage) {
    wire.add(chunks.usage({ promptTokens: promptTokens(request.messages), completionTokens: record.tokensSent }));
  }
  wire.add(DONE);
  await wire.end();
  return wire.gone ? "client_gone" : "completed";
}

function fragmentsOf(text: string, count: number): string[] {
  const size = Math.max(1, Math.ceil(text.length / count));
  const fragments: string[] = [];
  for (let at = 0; at < text.length; at += size) fragments.push(text.slice(at, at + size));
  return fragments;
}
