/**
 * An agent as an MCP server, without state: each request gets a server of its own, which lives until it is answered. The
 * SDK is loaded by the first request, so that those who are never asked this way have no memory for it.
 */
import type { JSONRPCMessage, RequestId } from "@modelcontextprotocol/sdk/types.js";
import { ASK_TOOL, ask, type Asker } from "./ask.ts";

const VERSION = "1";
/** Keeps proxies from closing a quiet stream. */
const KEEP_ALIVE_MS = 15_000;
/** Between two notes of what the agent has said so far. */
const PROGRESS_EVERY_MS = 250;
const MAX_PROGRESS_LENGTH = 2_000;
const IDEMPOTENCY_META = "agentengine.dev/idempotency-key";

export interface AgentRequest {
  message: JSONRPCMessage;
  /** The client reads a stream; otherwise it gets one JSON document. */
  takesStream: boolean;
  idempotencyKey: string | null;
  /** Aborted where the client is gone. */
  signal: AbortSignal;
  /** A call is under way: what is given ends it, and what is returned says that it has ended. */
  onCall: (id: RequestId, cancel: () => void) => () => void;
}

export async function answerAsAgent(asker: Asker, request: AgentRequest): Promise<Response> {
  const [{ Server }, { WebStandardStreamableHTTPServerTransport }, types] = await Promise.all([
    import("@modelcontextprotocol/sdk/server/index.js"),
    import("@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js"),
    import("@modelcontextprotocol/sdk/types.js"),
  ]);
  const { agent, events } = asker;
  const server = new Server(
    { name: agent.name, version: VERSION },
    { capabilities: { tools: {} }, instructions: `Ask ${agent.name} with the tool \`${ASK_TOOL.name}\`.` },
  );
  server.setRequestHandler(types.ListToolsRequestSchema, () => ({
    tools: [{ ...ASK_TOOL, description: descriptionOf(agent.name) } as never],
  }));
  server.setRequestHandler(types.CallToolRequestSchema, async ({ params }, extra) => {
    if (params.name !== ASK_TOOL.name) {
      throw new types.McpError(types.ErrorCode.InvalidParams, `Unknown tool: ${params.name}`);
    }
    const cancelled = new AbortController();
    const isOver = request.onCall(extra.requestId, () => cancelled.abort(new Error("cancelled")));
    const token = params._meta?.progressToken;
    let toldAt = 0;
    const onText = (text: string): void => {
      const now = events.clock();
      if (token === undefined || now - toldAt < PROGRESS_EVERY_MS) return;
      toldAt = now;
      const message = text.slice(-MAX_PROGRESS_LENGTH);
      const note = { progressToken: token, progress: text.length, message };
      extra.sendNotification({ method: "notifications/progress", params: note }).catch(() => {});
    };
    const meta = params._meta?.[IDEMPOTENCY_META];
    try {
      return await ask(asker, {
        arguments: params.arguments ?? {},
        idempotencyKey: typeof meta === "string" ? meta : request.idempotencyKey,
        onText,
        signal: AbortSignal.any([extra.signal, cancelled.signal]),
      });
    } finally {
      isOver();
    }
  });
  const transport = new WebStandardStreamableHTTPServerTransport({
    enableJsonResponse: !request.takesStream,
    keepAliveMs: KEEP_ALIVE_MS,
  });
  await server.connect(transport);
  const close = () => void server.close().catch(() => {});
  request.signal.addEventListener("abort", close, { once: true });
  const answered = transport.handleRequest(
    // What it would refuse in headers has been looked at, and is refused in our words.
    new Request("http://agent/mcp", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    }),
    { parsedBody: request.message },
  );
  return untilRead(await Promise.race([answered, nobody(request.signal)]), close);
}

/** Once the client is gone: a transport that was closed answers nothing more. */
function nobody(signal: AbortSignal): Promise<Response> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(new Response(null, { status: 499 })), { once: true });
  });
}

/** Says when the body has been read, or will not be: then nobody waits for the answer. */
function untilRead(response: Response, close: () => void): Response {
  if (!response.body) {
    close();
    return response;
  }
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await reader.read();
      if (!done) return controller.enqueue(value);
      close();
      controller.close();
    },
    cancel(reason) {
      close();
      return reader.cancel(reason);
    },
  });
  return new Response(body, { status: response.status, headers: response.headers });
}

function descriptionOf(name: string): string {
  return `Asks the agent "${name}" and waits for its answer. Give all it needs to know: it sees nothing else of your conversation. Its answer comes with a conversationId, by which it can be asked again and remembers what was said.`;
}
