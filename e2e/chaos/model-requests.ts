import { lastUserTurn, type RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import type { World } from "./world.ts";

/** What the model was asked in answer to a message that begins like this, oldest first. */
export function requestsOf(world: World, text: string): RecordedRequest[] {
  return world.model.requests.filter(({ body }) => lastUserTurn(body.messages).text.startsWith(text));
}
