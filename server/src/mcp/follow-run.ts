import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { isTerminal } from "@agent-engine/protocol/events.ts";
import type { Principal } from "../http/request.ts";
import { audienceOf } from "../realtime/audience.ts";
import type { EventSource } from "../realtime/event-stream.ts";
import type { Reader, Sink } from "../realtime/reader.ts";

/** Why nobody waits any more: `waiting` asks a person, `gone` this server stops or the credential has ended. */
export type RunPause = "ended" | "waiting" | "gone";

export interface FollowedRun {
  conversationId: string;
  runId: string;
  /** Looks whether a run that has asked a person still waits; it may have gone on since. */
  isWaiting: () => Promise<boolean>;
  /** What the agent has said so far. */
  onText: (text: string) => void;
  signal: AbortSignal;
}

/** Follows a run by the log until it ends or waits for a person. @throws the signal's reason */
export async function followRun(
  { hub, live }: EventSource,
  principal: Principal,
  { conversationId, runId, isWaiting, onText, signal }: FollowedRun,
): Promise<RunPause> {
  const done = Promise.withResolvers<RunPause>();
  const texts = new Map<string, string>();

  function read({ event }: Envelope): void {
    if (event.type === "TEXT_MESSAGE_START" && event.role === "assistant") texts.set(event.messageId, "");
    if (event.type === "TEXT_MESSAGE_CONTENT" && texts.has(event.messageId)) {
      texts.set(event.messageId, (texts.get(event.messageId) ?? "") + event.delta);
      onText([...texts.values()].filter(Boolean).join("\n\n"));
    }
    // A turn that failed and is tried again takes back what it said.
    if (event.type === "CUSTOM" && event.name === "run.superseded") {
      for (const id of event.value.messageIds) texts.delete(id);
    }
    if (event.type === "RUN_FINISHED" && event.outcome.type === "interrupt") {
      isWaiting().then((still) => still && done.resolve("waiting"), done.reject);
    } else if (isTerminal(event)) done.resolve("ended");
  }

  const sink: Sink = {
    push: (frame) => frame.events.forEach(read),
    bufferedBytes: () => 0,
    onceDrained: () => {},
    end: (reason) => done.resolve(reason === "finished" ? "ended" : "gone"),
  };
  const abort = () => done.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  const stopWatching = live.watch(principal, () => done.resolve("gone"));
  const { tenantId, actor } = principal;
  let reader: Reader | null = null;
  try {
    const request = { tenantId, conversationId, runId, runEnded: false, after: 0, audience: audienceOf(actor) };
    reader = await hub.open(request, sink);
    return await done.promise;
  } finally {
    done.promise.catch(() => {});
    signal.removeEventListener("abort", abort);
    stopWatching();
    reader?.close();
  }
}
