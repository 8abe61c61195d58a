import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { listConversations } from "@agent-engine/core/conversations/list-conversations.ts";
import { sendMessage } from "@agent-engine/core/conversations/send-message.ts";
import { conversationRequest, messageRequest } from "@agent-engine/protocol/schemas/requests.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { conversationSchema, pageSchema, submissionSchema } from "../openapi/schemas.ts";

const tag = "Conversations";

export function conversationRoutes(api: Api): void {
  api.route(
    {
      method: "post",
      path: "/v1/conversations",
      tag,
      summary: "Start a conversation",
      description: "A visitor talks to their site's agent; a secret key names one.",
      access: { scope: "conversations:write", visitor: true },
      body: conversationRequest,
      status: 201,
      answer: conversationSchema,
    },
    ({ ctx, body }) => createConversation(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/conversations",
      tag,
      summary: "List conversations, newest first",
      description: "A visitor sees their own.",
      access: { scope: "conversations:read", visitor: true },
      query: pageQuery,
      status: 200,
      answer: pageSchema(conversationSchema),
    },
    ({ ctx, query }) => listConversations(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/conversations/{conversationId}",
      tag,
      summary: "Read a conversation",
      access: { scope: "conversations:read", visitor: true },
      status: 200,
      answer: conversationSchema,
    },
    ({ ctx, params }) => getConversation(ctx, params.conversationId),
  );

  api.route(
    {
      method: "post",
      path: "/v1/conversations/{conversationId}/messages",
      tag,
      summary: "Send a message; a run answers it",
      description: "The same `clientMessageId` answers the same; with another text it is a mistake (422).",
      access: { scope: "conversations:write", visitor: true },
      rate: "message",
      body: messageRequest,
      status: 202,
      answer: submissionSchema,
    },
    ({ ctx, params, body }) =>
      sendMessage(ctx, {
        conversationId: params.conversationId,
        clientMessageId: body.clientMessageId,
        text: body.text,
      }),
  );
}
