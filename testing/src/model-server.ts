/**
 * An OpenAI-compatible model over real HTTP that says what a script tells it to, and fails as a script tells it to.
 *
 * The script of a request is, in this order: the directive in its last user message (`say()`), the next one of the
 * queue, what the `script` function returns, the default (`text` or `tokens`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { errorObject } from "./answer-parts.ts";
import { lastUserTurn, parseChatRequest, type ChatRequest, type RecordedRequest } from "./chat-request.ts";
import { closeServer, listen } from "./listening.ts";
import { readDirective, scriptOf } from "./model-directive.ts";
import type { ModelScript, ModelStep } from "./model-script.ts";
import { playStream } from "./play-stream.ts";
import { playWhole } from "./play-whole.ts";

export interface ModelServerOptions {
  /** Default: a free port. */
  port?: number;
  /** What the model says by default; without it, `tokens` numbered words. */
  text?: string;
  /** Tokens of the default answer; default 20. */
  tokens?: number;
  /** The default answer's tokens carry the time they were written (`stamps.ts`). */
  stamped?: boolean;
  firstTokenDelayMs?: number;
  gapMs?: number;
  /** Chooses the script of a request; null leaves it to the default. */
  script?: ScriptChooser;
  /** How many requests to remember, the newest; default 1,000. 0 for benchmarks. */
  keepRequests?: number;
}

export type ScriptChooser = (request: ChatRequest, record: RecordedRequest) => ModelScript | null;

export interface ModelServer {
  /** The base URL of the API, as `OPENAI_BASE_URL` wants it: `http://127.0.0.1:<port>/v1`. */
  url: string;
  port: number;
  /** The requests received, oldest first. */
  requests: RecordedRequest[];
  /** Chat requests received since the start. */
  received(): number;
  /** The next requests without a directive get these, in order. */
  enqueue(...scripts: ModelScript[]): void;
  /** Replaces the chooser. */
  setScript(chooser: ScriptChooser | null): void;
  /** Resets every open connection, mid-stream too. */
  dropConnections(): void;
  /** Stops listening and resets every connection: new ones are refused until `acceptConnections()`. */
  refuseConnections(): Promise<void>;
  acceptConnections(): Promise<void>;
  stop(): Promise<void>;
}

export async function startModelServer(options: ModelServerOptions = {}): Promise<ModelServer> {
  const fallback = defaultScript(options);
  const keep = options.keepRequests ?? 1_000;
  const requests: RecordedRequest[] = [];
  const queue: ModelScript[] = [];
  const sockets = new Set<Socket>();
  const attempts = new Map<string, number>();
  let chooser = options.script ?? null;
  let received = 0;

  function chooseScript(request: ChatRequest, record: RecordedRequest): ModelScript {
    const { text, turn } = lastUserTurn(request.messages);
    record.turn = turn;
    const directive = readDirective(text);
    if (directive) {
      const key = `${turn} ${text}`;
      record.attempt = attempts.get(key) ?? 0;
      attempts.set(key, record.attempt + 1);
      return scriptOf(directive, turn, record.attempt) ?? fallback;
    }
    return queue.shift() ?? chooser?.(request, record) ?? fallback;
  }

  async function chat(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    const id = String(++received);
    let body: ChatRequest;
    let script: ModelScript;
    let record: RecordedRequest;
    let ended = (): void => {};
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    try {
      body = parseChatRequest(text);
      record = {
        body,
        headers: request.headers,
        turn: 0,
        attempt: 0,
        tokensSent: 0,
        end: null,
        ended: new Promise((resolve) => {
          ended = resolve;
        }),
        released,
        release,
      };
      script = chooseScript(body, record);
    } catch (error) {
      sendError(response, 400, error instanceof Error ? error.message : String(error));
      return;
    }
    if (keep > 0) {
      requests.push(record);
      if (requests.length > keep) requests.shift();
    }
    try {
      record.end = await (body.stream ? playStream : playWhole)(response, body, script, record, id);
    } finally {
      ended();
    }
  }

  const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
    const path = (request.url ?? "").split("?")[0];
    if (request.method === "POST" && path === "/v1/chat/completions") {
      chat(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
    } else if (request.method === "GET" && path === "/v1/models") {
      sendJson(response, 200, {
        object: "list",
        data: [{ id: "fake-model", object: "model", created: 1_700_000_000, owned_by: "testing" }],
      });
    } else {
      sendError(response, 404, `Unknown request URL: ${request.method} ${path}`);
    }
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const port = await listen(server, options.port ?? 0);

  function dropConnections(): void {
    for (const socket of sockets) socket.resetAndDestroy();
  }
  async function refuseConnections(): Promise<void> {
    const closed = closeServer(server);
    dropConnections();
    await closed;
  }

  return {
    url: `http://127.0.0.1:${port}/v1`,
    port,
    requests,
    received: () => received,
    enqueue: (...scripts) => queue.push(...scripts),
    setScript: (next) => {
      chooser = next;
    },
    dropConnections,
    refuseConnections,
    acceptConnections: async () => {
      await listen(server, port);
    },
    stop: refuseConnections,
  };
}

function defaultScript(options: ModelServerOptions): ModelScript {
  const step: ModelStep =
    options.text === undefined
      ? { kind: options.stamped ? "stamps" : "tokens", count: options.tokens ?? 20 }
      : { kind: "text", text: options.text };
  return { firstTokenDelayMs: options.firstTokenDelayMs ?? 0, gapMs: options.gapMs ?? 0, steps: [step] };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function sendError(response: ServerResponse, status: number, message: string): void {
  sendJson(response, status, { error: errorObject(message, "invalid_request_error") });
}
