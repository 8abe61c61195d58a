import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { getConversation } from "@agent-engine/core/conversations/get-conversation.ts";
import { listConversations } from "@agent-engine/core/conversations/list-conversations.ts";
import { handBack } from "@agent-engine/core/conversations/hand-back.ts";
import { sendOperatorMessage } from "@agent-engine/core/conversations/send-operator-message.ts";
import { sendMessage } from "@agent-engine/core/conversations/send-message.ts";
import { takeOver } from "@agent-engine/core/conversations/take-over.ts";
import {
  conversationRequest,
  messageRequest,
  operatorMessageRequest,
  takeoverRequest,
} from "@agent-engine/protocol/schemas/requests.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { conversationSchema, messageSchema, pageSchema, sentMessageSchema } from "../openapi/schemas.ts";

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
      description:
        "The same `clientMessageId` answers the same; with another text it is a mistake (422). While a person of the team has the conversation, `run` is null: they answer.",
      access: { scope: "conversations:write", visitor: true },
      rate: "message",
      body: messageRequest,
      status: 202,
      answer: sentMessageSchema,
    },
    ({ ctx, params, body }) =>
      sendMessage(ctx, {
        conversationId: params.conversationId,
        clientMessageId: body.clientMessageId,
        text: body.text,
      }),
  );

  const staff = { scope: "conversations:write", visitor: false } as const;

  api.route(
    {
      method: "post",
      path: "/v1/conversations/{conversationId}/takeover",
      tag,
      summary: "Take a conversation over from its agent",
      description:
        "Messages are shown and start no run from now on; what the agent is doing is cancelled. Visitors read `name`, by default the member's. Again: nothing happens; by another person: they take it from the first.",
      access: staff,
      body: takeoverRequest,
      status: 200,
      answer: conversationSchema,
    },
    ({ ctx, params, body }) => takeOver(ctx, { ...body, conversationId: params.conversationId }),
  );

  api.route(
    {
      method: "post",
      path: "/v1/conversations/{conversationId}/handback",
      tag,
      summary: "Give a conversation back to its agent",
      description: "The agent answers the next message, and has read what was said meanwhile.",
      access: staff,
      status: 200,
      answer: conversationSchema,
    },
    ({ ctx, params }) => handBack(ctx, params.conversationId),
  );

  api.route(
    {
      method: "post",
      path: "/v1/conversations/{conversationId}/operator-messages",
      tag,
      summary: "Write to the visitor as a person",
      description:
        "Only while the conversation is taken over (409 otherwise). The same `clientMessageId` says it once.",
      access: staff,
      rate: "message",
      body: operatorMessageRequest,
      status: 201,
      answer: messageSchema,
    },
    ({ ctx, params, body }) => sendOperatorMessage(ctx, { ...body, conversationId: params.conversationId }),
  );
}
