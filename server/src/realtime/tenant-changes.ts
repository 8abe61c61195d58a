import type { EventBus } from "@agent-engine/core/events/bus.ts";
import type { ConversationChange } from "@agent-engine/protocol/realtime.ts";
import { MAX_BUFFERED_BYTES } from "./reader.ts";
import type { SocketOutlet } from "./socket-outlet.ts";

/** As the Socket.IO packet: see `encodePush`. */
const encode = (change: ConversationChange): string => `2${JSON.stringify(["conversation.changed", change])}`;

/**
 * Tells a socket of staff which conversations of their tenant change; answers how to stop. One whose network is slow is
 * told of each conversation's newest change when it has drained.
 */
export function tellOfChanges(
  bus: Pick<EventBus, "followTenant">,
  tenantId: string,
  outlet: Pick<SocketOutlet, "send" | "bufferedBytes" | "onceDrained">,
): () => void {
  const held = new Map<string, ConversationChange>();

  function tell(change: ConversationChange): void {
    const isSlow = outlet.bufferedBytes() > MAX_BUFFERED_BYTES;
    if (!isSlow && held.size === 0) return outlet.send(encode(change));
    if (isSlow && held.size === 0) outlet.onceDrained(release);
    held.set(change.id, change);
    // It has drained and will say so, or never: what is held may not be overtaken, nor wait for that.
    if (!isSlow) release();
  }

  function release(): void {
    const changes = [...held.values()];
    held.clear();
    for (const change of changes) tell(change);
  }

  return bus.followTenant(tenantId, tell).leave;
}
