import { randomUUID } from "node:crypto";
import { z } from "@hono/zod-openapi";
import type { JSONRPCMessage, RequestId } from "@modelcontextprotocol/sdk/types.js";
import { getAgent } from "@agent-engine/core/agents/get-agent.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import type { Api } from "../http/api.ts";
import { callerOf, type RateLimiter } from "../limits/rate-limiter.ts";
import { answerAsAgent } from "../mcp/agent-server.ts";
import type { EventSource } from "../realtime/event-stream.ts";

const SESSION_HEADER = "mcp-session-id";
const SESSION = /^[\x21-\x7e]{1,100}$/;

export interface AgentMcpOptions {
  events: EventSource;
  limiter: Pick<RateLimiter, "admitCaller">;
}

/** Each agent is an MCP server, which other assistants call. */
export function agentMcpRoutes(api: Api, { events, limiter }: AgentMcpOptions): void {
  /** Calls under way here, so that a message that cancels one finds it. */
  const calls = new Map<string, () => void>();

  api.stream(
    {
      method: "post",
      path: "/v1/agents/{agentId}/mcp",
      tag: "Agents",
      summary: "Talk to an agent as an MCP server",
      description:
        "Streamable HTTP of the Model Context Protocol. Its one tool is `ask`: a call is a run, and is answered when that has ended or waits for a person. A call whose connection ends is cancelled, and so is its run.",
      access: { scope: "runs:write", visitor: false },
      body: z.record(z.string(), z.unknown()).openapi({ description: "One JSON-RPC 2.0 message." }),
      streamed: {
        mediaType: "text/event-stream",
        description: "The answer, after notes of progress; one JSON document for who accepts no stream. 202 for notes.",
      },
    },
    async ({ ctx, params, body, principal, c }) => {
      const agent = await getAgent(ctx, params.agentId);
      const message = await readMessage(body);
      const session = c.req.header(SESSION_HEADER);
      const caller = JSON.stringify([ctx.tenantId, callerOf(ctx.actor)?.id, agent.id, session]);
      const keyOf = (id: RequestId) => `${caller} ${JSON.stringify(id)}`;
      if (isCancelled(message)) calls.get(keyOf(message.params.requestId))?.();
      const response = await answerAsAgent(
        { ctx, principal, agent, events, limiter },
        {
          message,
          takesStream: c.req.header("accept")?.includes("text/event-stream") === true,
          idempotencyKey: c.req.header("idempotency-key") ?? null,
          signal: c.req.raw.signal,
          onCall(id, cancel) {
            const key = keyOf(id);
            // Ids count from 0 in every client: without a session nobody knows whose call is meant.
            if (session === undefined || !SESSION.test(session)) return () => {};
            calls.set(key, cancel);
            return () => void (calls.get(key) === cancel && calls.delete(key));
          },
        },
      );
      // Kept by clients, and by nobody here: it tells the calls of one from those of another.
      if ("method" in message && message.method === "initialize") response.headers.set(SESSION_HEADER, randomUUID());
      return response;
    },
  );
}

async function readMessage(body: Record<string, unknown>): Promise<JSONRPCMessage> {
  const { JSONRPCMessageSchema } = await import("@modelcontextprotocol/sdk/types.js");
  const parsed = JSONRPCMessageSchema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new ProblemError(
    "invalid_request",
    'The body is not a JSON-RPC 2.0 message. Send, for instance, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}.',
  );
}

function isCancelled(message: JSONRPCMessage): message is JSONRPCMessage & { params: { requestId: RequestId } } {
  if (!("method" in message) || message.method !== "notifications/cancelled") return false;
  const id = message.params?.["requestId"];
  return typeof id === "string" || typeof id === "number";
}
