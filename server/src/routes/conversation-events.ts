import { z } from "@hono/zod-openapi";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { conversationState } from "@agent-engine/core/events/conversation-state.ts";
import type { Api } from "../http/api.ts";
import { wholeNumber } from "../http/paging.ts";
import { eventPageSchema, stateSchema } from "../openapi/schemas.ts";
import { audienceOf } from "../realtime/audience.ts";
import { openEventStream, type EventSource } from "../realtime/event-stream.ts";
import { cursorOf, eventsQuery, readEventPage, streamQuery } from "./event-page.ts";

const tag = "Conversations";
const access = { scope: "conversations:read", visitor: true } as const;
const stateQuery = z.object({
  at: wholeNumber(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .openapi({ type: "integer", description: "Fold only up to this seq: 0 (nothing yet) to the conversation's last." }),
});

export function conversationEventRoutes(api: Api, events: EventSource): void {
  api.route(
    {
      method: "get",
      path: "/v1/conversations/{conversationId}/events",
      tag,
      summary: "Read a conversation's events, ascending",
      access,
      query: eventsQuery,
      status: 200,
      answer: eventPageSchema,
    },
    async ({ ctx, params, query }) => {
      const conversation = await getConversation(ctx, params.conversationId);
      return readEventPage(ctx, { conversationId: conversation.id, runId: null }, query);
    },
  );

  api.stream(
    {
      method: "get",
      path: "/v1/conversations/{conversationId}/stream",
      tag,
      summary: "Follow a conversation's events",
      access,
      query: streamQuery,
    },
    async ({ ctx, c, params, query, principal }) => {
      const after = cursorOf(c.req.header("last-event-id"), query);
      const conversation = await getConversation(ctx, params.conversationId);
      return openEventStream(c, events, principal, {
        conversationId: conversation.id,
        runId: null,
        runEnded: false,
        after,
      });
    },
  );

  api.route(
    {
      method: "get",
      path: "/v1/conversations/{conversationId}/state",
      tag,
      summary: "Read the fold of a conversation, now or at an event",
      access,
      query: stateQuery,
      status: 200,
      answer: stateSchema,
    },
    async ({ ctx, params, query }) => {
      const conversation = await getConversation(ctx, params.conversationId);
      if (query.at === undefined)
        return conversationState(ctx, { conversationId: conversation.id }, audienceOf(ctx.actor));
      const { lastSeq } = conversation;
      if (query.at > lastSeq) {
        throw new ProblemError(
          "invalid_request",
          `\`at\` is ${query.at}, and the conversation's last event is ${lastSeq}. Use 0 to ${lastSeq}, or leave it out.`,
        );
      }
      return conversationState(ctx, { conversationId: conversation.id, at: query.at }, audienceOf(ctx.actor));
    },
  );
}
