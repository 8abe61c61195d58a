/** The SDK as a reader outside a browser, over Node's own WebSocket. */
import { createConversationClient, type ConversationClient } from "@agent-engine/sdk/conversation-client.ts";
import { memoryKeyValue } from "@agent-engine/sdk/key-value.ts";
import { io } from "@agent-engine/sdk/websocket-io.ts";

export interface SdkReader {
  client: ConversationClient;
  /** How it was connected since `forget`: a state's name, or `by stream`, `by poll`, `by null` while it has no socket. */
  seen(): string[];
  forget(): void;
}

export async function openSdkReader(baseUrl: string, token: string, conversationId: string): Promise<SdkReader> {
  const storage = memoryKeyValue();
  storage.set("conversation", conversationId);
  const client = createConversationClient({
    baseUrl,
    storage,
    credentials: { token: async () => token, renew: async () => token },
    loadSocket: async () => io,
    // Small pauses, so that a test need not wait for the long ones.
    random: () => 0.05,
  });
  let seen = new Set<string>();
  client.subscribe(() => {
    const { connection } = client.getState();
    seen.add(connection.status === "degraded" ? `by ${connection.via}` : connection.status);
  });
  await client.start();
  return {
    client,
    seen: () => [...seen].toSorted(),
    forget() {
      seen = new Set();
    },
  };
}
