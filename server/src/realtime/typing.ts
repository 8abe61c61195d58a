import { z } from "zod";
import type { Services } from "@agent-engine/core/context.ts";
import { roomOf, type RealtimeSocket } from "./socket.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** More often than this says nothing new. */
const AT_MOST_EVERY_MS = 200;

const typingRequest = z.object({ conversationId: z.string(), isTyping: z.boolean() });

/** Passes "is typing" on to the others in a conversation, on every server. Advice: dropped when it comes too often. */
export function createTypingRelay(
  socket: RealtimeSocket,
  subscriptions: Subscriptions,
  { clock, bus }: Pick<Services, "clock" | "bus">,
): (request: unknown) => void {
  let lastAt = 0;
  return (request) => {
    const parsed = typingRequest.safeParse(request);
    if (!parsed.success || !subscriptions.follows(parsed.data.conversationId)) return;
    const now = clock();
    const isStop = !parsed.data.isTyping;
    if ((!isStop && now - lastAt < AT_MOST_EVERY_MS) || !bus.isHealthy()) return;
    lastAt = now;
    const { conversationId, isTyping } = parsed.data;
    const by = socket.data.principal.actor.kind === "visitor" ? "visitor" : "staff";
    socket
      .to(roomOf(conversationId))
      .emit("hint", { conversationId, runId: null, name: "typing", value: { isTyping, by } });
  };
}
