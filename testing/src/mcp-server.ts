/**
 * An MCP server for tests, made of the SDK's own server: any tools, a ledger of what was called, faults by script, changes
 * of its list, and a token that it may ask for. Streamable HTTP with sessions at `/mcp`, or the old SSE at `/sse`.
 */
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { CallToolRequestSchema, ListToolsRequestSchema, McpError } from "@modelcontextprotocol/sdk/types.js";
import { closeServer, listen } from "./listening.ts";

const require = createRequire(import.meta.url);

/** The protocol's own test server: run it with `streamableHttp` or `sse`, and `PORT`. */
export const EVERYTHING_SERVER = require.resolve("@modelcontextprotocol/server-everything/dist/index.js");

export interface McpTool {
  /** Listed as it is, also when it is nonsense. */
  listed: Record<string, unknown>;
  run: (
    args: Record<string, unknown>,
    call: { progress: (progress: number, total: number, message?: string) => Promise<void>; session: string },
  ) => unknown;
}

/** `before` and `after` are relative to what the tool does. */
export type McpFault =
  | { kind: "hang"; when: "before" | "after" }
  | { kind: "cut"; when: "before" | "after" }
  | { kind: "status"; when: "before" | "after"; status: number; headers?: Record<string, string> }
  | { kind: "rpc"; code: number; message: string };

export interface McpCallEntry {
  tool: string;
  arguments: unknown;
  /** Of `_meta`: the idempotency key. */
  key: string | null;
  session: string;
  headers: IncomingMessage["headers"];
  /** The tool did it. */
  isApplied: boolean;
}

export interface McpServerOptions {
  tools: McpTool[];
  /** One page of the list; default all. */
  pageSize?: number;
  isSse?: boolean;
  /** Whether a request may come in, by its bearer token; by default all may. */
  admits?: (token: string | null) => boolean;
  /** What a 401 refers to: the protected resource's metadata (RFC 9728), for the server's URL. */
  protects?: (url: string) => Record<string, unknown>;
  port?: number;
}

export interface McpTestServer {
  url: string;
  origin: string;
  ledger: McpCallEntry[];
  /** Of JSON-RPC messages: methods, oldest first. */
  heard: string[];
  enqueueFaults(...faults: McpFault[]): void;
  setTools(tools: McpTool[]): Promise<void>;
  sessions(): string[];
  /** Forgets every session, as a server that was started anew. */
  forgetSessions(): void;
  connections(): number;
  stop(): Promise<void>;
}

type Asked = { response: ServerResponse; fault: McpFault | null; headers: IncomingMessage["headers"] };
type Session = { server: Server; transport: Transport; post: Handler };
type Handler = (request: IncomingMessage, response: ServerResponse, body: unknown) => Promise<void>;
type Message = { id?: string | number; method?: string };

const METADATA = "/.well-known/oauth-protected-resource/mcp";
const IDEMPOTENCY_META = "agentengine.dev/idempotency-key";

export async function startMcpServer(options: McpServerOptions): Promise<McpTestServer> {
  let tools = options.tools;
  const ledger: McpCallEntry[] = [];
  const heard: string[] = [];
  const faults: McpFault[] = [];
  const sessions = new Map<string, Session>();
  const asked = new Map<string, Asked>();
  const sockets = new Set<Socket>();

  function newServer(): Server {
    const server = new Server({ name: "test", version: "1" }, { capabilities: { tools: { listChanged: true } } });
    server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
      const from = Number(params?.cursor ?? 0);
      const to = from + (options.pageSize ?? tools.length);
      const page = tools.slice(from, to).map(({ listed }) => listed);
      return { tools: page as never[], ...(to < tools.length ? { nextCursor: String(to) } : {}) };
    });
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
      const session = extra.sessionId ?? "";
      const call = asked.get(`${session} ${extra.requestId}`);
      asked.delete(`${session} ${extra.requestId}`);
      const key = params._meta?.[IDEMPOTENCY_META];
      const entry: McpCallEntry = {
        tool: params.name,
        arguments: params.arguments,
        key: typeof key === "string" ? key : null,
        session,
        headers: call?.headers ?? {},
        isApplied: false,
      };
      ledger.push(entry);
      const fault = call?.fault;
      if (fault?.kind === "rpc") throw new McpError(fault.code, fault.message);
      const tool = tools.find(({ listed }) => listed.name === params.name);
      if (!tool) throw new McpError(-32_602, `Unknown tool: ${params.name}`);
      const token = params._meta?.progressToken;
      const answer = await tool.run(params.arguments ?? {}, {
        session,
        progress: async (progress, total, message) => {
          if (token === undefined) return;
          const said = { progressToken: token, progress, total, ...(message === undefined ? {} : { message }) };
          await extra.sendNotification({ method: "notifications/progress", params: said });
        },
      });
      entry.isApplied = true;
      if (fault && call) return fail(call.response, fault);
      return answer as never;
    });
    return server;
  }

  function fail(response: ServerResponse, fault: McpFault): Promise<never> {
    if (fault.kind === "cut") response.socket?.destroy();
    if (fault.kind === "status" && !response.headersSent) {
      response.writeHead(fault.status, { "content-type": "text/plain", ...fault.headers }).end("something broke");
    }
    return new Promise<never>(() => {});
  }

  function keep(id: string, session: Session): void {
    sessions.set(id, session);
    session.server.onclose = () => sessions.delete(id);
  }

  async function open(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
    const server = newServer();
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => keep(id, { server, transport, post }),
    });
    const post: Handler = (...call) => transport.handleRequest(...call);
    await server.connect(transport);
    await post(request, response, body);
  }

  async function openSse(response: ServerResponse): Promise<void> {
    const server = newServer();
    const transport = new SSEServerTransport("/messages", response);
    keep(transport.sessionId, {
      server,
      transport,
      post: (request, answer, body) => transport.handlePostMessage(request, answer, body),
    });
    await server.connect(transport);
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
    if (options.protects && pathname === METADATA) return void response.end(JSON.stringify(options.protects(url)));
    const [, token = null] = /^Bearer (.+)$/.exec(request.headers.authorization ?? "") ?? [];
    if (options.admits && !options.admits(token)) {
      const challenge = `Bearer resource_metadata="${origin}${METADATA}"`;
      if (options.protects) response.setHeader("www-authenticate", challenge);
      return void response.writeHead(401).end("no");
    }
    if (options.isSse && request.method === "GET" && pathname === "/sse") return openSse(response);
    if (pathname !== (options.isSse ? "/messages" : "/mcp")) return void response.writeHead(404).end();
    const id = options.isSse ? searchParams.get("sessionId") : (request.headers["mcp-session-id"] ?? null);
    const session = typeof id === "string" ? sessions.get(id) : undefined;
    const body = request.method === "POST" ? await readJson(request) : undefined;
    const message = (body ?? {}) as Message;
    if (message.method !== undefined) heard.push(message.method);
    if (id !== null && !session) return void response.writeHead(404).end("Session not found");
    if (message.method === "tools/call") {
      const fault = faults.shift() ?? null;
      if (fault && "when" in fault && fault.when === "before") return fail(response, fault);
      asked.set(`${String(id)} ${message.id}`, { response, fault, headers: request.headers });
    }
    await (session ? session.post(request, response, body) : open(request, response, body));
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500).end(String(error));
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const port = await listen(server, options.port ?? 0);
  const origin = `http://127.0.0.1:${port}`;
  const url = `${origin}${options.isSse ? "/sse" : "/mcp"}`;

  return {
    origin,
    url,
    ledger,
    heard,
    enqueueFaults: (...next) => void faults.push(...next),
    async setTools(next) {
      tools = next;
      await Promise.all([...sessions.values()].map((session) => session.server.sendToolListChanged()));
    },
    sessions: () => [...sessions.keys()],
    forgetSessions: () => sessions.clear(),
    connections: () => sockets.size,
    async stop() {
      const closed = closeServer(server);
      for (const { transport } of [...sessions.values()]) await transport.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return JSON.parse(Buffer.concat(parts).toString("utf8")) as unknown;
}
