/**
 * The engine's contract in memory, over real HTTP, SSE and Socket.IO: what browsers and the SDK are tested against
 * without a database. A script plays each run; faults break what the wire can break. Not a reference for the server.
 */
import { createReadStream } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { basename, join } from "node:path";
import { once } from "node:events";
import { Server as SocketServer } from "socket.io";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { isTerminal, type ConversationEvent, type Interrupt } from "@agent-engine/protocol/events.ts";
import { mergeAdjacent } from "@agent-engine/protocol/merge.ts";
import { problems, type ProblemCode } from "@agent-engine/protocol/problems.ts";
import { REALTIME_PATH, type ClientToServer, type ServerToClient } from "@agent-engine/protocol/realtime.ts";
import type { SiteProfile, Submission } from "@agent-engine/protocol/resources.ts";
import { createFakeInterrupts, type FakeDecision, type FakeInterrupts, type OfferedTools } from "./fake-interrupts.ts";
import { closeServer, listen } from "./listening.ts";

export interface FakeRun {
  id: string;
  conversationId: string;
  /** What the visitor wrote. */
  input: string;
  isCancelled(): boolean;
  emit(...events: ConversationEvent[]): void;
  /** Waits for decisions on these, and goes on with all of them. */
  ask(...interrupts: Interrupt[]): Promise<FakeDecision[]>;
  newId(prefix: string): string;
}

/** A request that goes wrong once: `lose` does the work and cuts the answer; a problem code is answered instead of it. */
export interface Fault {
  path: RegExp;
  method?: string;
  answer: ProblemCode | "lose" | "refuse";
  retryAfterSeconds?: number;
}

export interface FakeEngineOptions {
  port?: number;
  /** Plays a run; without one a run stays queued. */
  play?: (run: FakeRun) => Promise<void> | void;
  site?: Partial<Omit<SiteProfile, "agent">> & { agent?: Partial<SiteProfile["agent"]> };
  /** The built widget, served at `/widget.js` and `/widget/`. */
  widgetDir?: string;
  tokenTtlMs?: number;
  /** How long a link to connect an account is good; an hour unless told otherwise. */
  linkTtlMs?: number;
}

interface FakeConversation {
  id: string;
  visitorId: string;
  log: Envelope[];
  submissions: Map<string, Submission>;
  followers: Set<(envelopes: Envelope[]) => void>;
}

export interface FakeEngine {
  url: string;
  publishableKey: string;
  site: SiteProfile;
  conversations: Map<string, FakeConversation>;
  /** How many requests each route got, as `POST /v1/visitor-sessions` with ids as `{id}`. */
  requests: Map<string, number>;
  faults: Fault[];
  interrupts: FakeInterrupts;
  /** `away` refuses sockets, `unavailable` streams too; `blocked` lets no WebSocket and no polling through. */
  realtime: "live" | "away" | "unavailable" | "blocked";
  /** What becomes of a push on its way: the fault of a wire that loses, doubles and reorders. */
  mangle: (envelopes: Envelope[]) => Envelope[][];
  play: (run: FakeRun) => Promise<void> | void;
  append(conversationId: string, runId: string | null, ...events: ConversationEvent[]): void;
  hint(conversationId: string, runId: string, position: number, expectedDelayMs: number): void;
  /** Cuts every socket without a word, as a restarting server does. */
  cutSockets(): void;
  /** Says goodbye to every socket and closes it, as a server does whose Redis is away. */
  closeSockets(): void;
  socketCount(): number;
  revokeTokens(): void;
  stop(): Promise<void>;
}

const MIME: Record<string, string> = { js: "text/javascript", css: "text/css", map: "application/json" };

export async function startFakeEngine(options: FakeEngineOptions = {}): Promise<FakeEngine> {
  const publishableKey = "pk_fake";
  const tokens = new Map<string, { visitorId: string; expiresAtMs: number }>();
  const runs = new Map<string, { conversationId: string; status: string }>();
  const idempotent = new Map<string, unknown>();
  let counter = 0;
  const newId = (prefix: string) => `${prefix}_${(++counter).toString(16).padStart(32, "0")}`;

  const http = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (error instanceof Refusal) answerProblem(response, error.code);
      else {
        response.destroy();
        throw error;
      }
    });
  });
  const sockets = new SocketServer<ClientToServer, ServerToClient>(http, {
    path: REALTIME_PATH,
    cors: { origin: true },
    allowRequest: (_request, decide) => decide(null, engine.realtime !== "blocked"),
  });

  const interrupts = createFakeInterrupts(append, newId);
  const engine: FakeEngine = {
    url: "",
    publishableKey,
    site: {
      id: newId("site"),
      name: "Fake shop",
      theme: {},
      ...options.site,
      agent: {
        id: newId("agent"),
        name: "Ask Fake shop",
        greeting: "Hello! What would you like to know?",
        suggestions: ["When do you open?", "How do I return something?"],
        isLanguageModel: true,
        ...options.site?.agent,
      },
    },
    conversations: new Map(),
    requests: new Map(),
    faults: [],
    interrupts,
    realtime: "live",
    mangle: (envelopes) => [envelopes],
    play: options.play ?? (() => {}),
    append,
    hint(conversationId, runId, position, expectedDelayMs) {
      const value = { position, expectedDelayMs };
      sockets.to(conversationId).emit("hint", { conversationId, runId, name: "run.queued", value });
    },
    cutSockets: () => {
      for (const socket of sockets.sockets.sockets.values()) socket.conn.close();
    },
    closeSockets: () => {
      sockets.emit("closing", { code: "realtime_unavailable", retryable: true, detail: "away" });
      sockets.disconnectSockets(true);
    },
    socketCount: () => sockets.sockets.sockets.size,
    revokeTokens: () => tokens.clear(),
    async stop() {
      sockets.disconnectSockets(true);
      http.closeAllConnections();
      await Promise.all([sockets.close(), closeServer(http)]);
    },
  };

  function append(conversationId: string, runId: string | null, ...events: ConversationEvent[]): void {
    const conversation = conversationOf(conversationId);
    const envelopes = events.map((event, index) => ({
      seq: conversation.log.length + index + 1,
      conversationId,
      runId,
      at: new Date().toISOString(),
      correlationId: "fake",
      event,
    }));
    conversation.log.push(...envelopes);
    for (const push of engine.mangle(envelopes)) for (const follower of conversation.followers) follower(push);
  }

  function conversationOf(id: string): FakeConversation {
    const conversation = engine.conversations.get(id);
    if (!conversation) throw new Refusal("not_found");
    return conversation;
  }

  function visitorOf(token: string | undefined): string {
    const session = tokens.get(token ?? "");
    if (!session || session.expiresAtMs <= Date.now()) throw new Refusal("unauthenticated");
    return session.visitorId;
  }

  sockets.use((socket, next) => {
    const refuse = (code: "unauthenticated" | "realtime_unavailable", retryable: boolean) =>
      next(Object.assign(new Error(code), { data: { code, retryable, detail: code } }));
    if (engine.realtime !== "live") return refuse("realtime_unavailable", true);
    try {
      visitorOf(socket.handshake.auth["token"]);
      next();
    } catch {
      refuse("unauthenticated", false);
    }
  });
  sockets.on("connection", (socket) => {
    socket.on("subscribe", ({ conversationId = "", after = 0 }, ack) => {
      const conversation = engine.conversations.get(conversationId);
      if (!conversation) return ack({ ok: false, error: { code: "not_found", detail: "No such conversation." } });
      const follower = (events: Envelope[]) => void socket.emit("events", { conversationId, events });
      void socket.join(conversationId);
      ack({ ok: true, lastSeq: conversation.log.length });
      const missed = mergeAdjacent(conversation.log.slice(after));
      if (missed.length > 0) follower(missed);
      conversation.followers.add(follower);
      socket.on("disconnect", () => conversation.followers.delete(follower));
    });
  });

  function submit(conversation: FakeConversation, clientMessageId: string, text: string): Submission {
    const known = conversation.submissions.get(clientMessageId);
    if (known) return known;
    const messageId = newId("msg");
    const runId = newId("run");
    const conversationId = conversation.id;
    const createdAt = new Date().toISOString();
    const submission: Submission = {
      message: { id: messageId, conversationId, clientMessageId, role: "user", text, createdAt },
      run: {
        id: runId,
        conversationId,
        agentId: engine.site.agent.id,
        status: "queued",
        interrupts: [],
        attempt: 1,
        usage: [],
        finishReason: null,
        error: null,
        createdAt,
        finishedAt: null,
      },
    };
    conversation.submissions.set(clientMessageId, submission);
    const run = { conversationId, status: "queued" };
    runs.set(runId, run);
    append(
      conversationId,
      runId,
      { type: "TEXT_MESSAGE_START", messageId, role: "user" },
      { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
      { type: "TEXT_MESSAGE_END", messageId },
    );
    void engine.play({
      id: runId,
      conversationId,
      input: text,
      isCancelled: () => run.status === "cancelled",
      emit: (...events) => {
        if (run.status !== "cancelled") append(conversationId, runId, ...events);
      },
      ask: (...asked) => interrupts.ask(runId, conversationId, asked),
      newId,
    });
    return submission;
  }

  function cancel(runId: string): unknown {
    const run = runs.get(runId);
    if (!run) throw new Refusal("not_found");
    const log = conversationOf(run.conversationId).log;
    const isOver = log.some(({ event, runId: of }) => of === runId && isTerminal(event));
    if (!isOver) {
      run.status = "cancelled";
      interrupts.drop(runId);
      const started = log.findLast(
        ({ event, runId: of }) => of === runId && event.type === "TEXT_MESSAGE_START" && event.role === "assistant",
      )?.event;
      const open = started && "messageId" in started ? started.messageId : null;
      const isOpen = open && !log.some(({ event }) => event.type === "TEXT_MESSAGE_END" && event.messageId === open);
      if (isOpen) {
        const metadata = { agentEngine: { incomplete: true } };
        append(run.conversationId, runId, { type: "TEXT_MESSAGE_END", messageId: open, metadata });
      }
      append(run.conversationId, runId, {
        type: "RUN_FINISHED",
        threadId: run.conversationId,
        runId,
        outcome: { type: "cancelled" },
      });
    }
    return { id: runId, conversationId: run.conversationId, status: "cancelled" };
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    const path = url.pathname;
    if (path.startsWith(`${REALTIME_PATH}/`)) return;
    const route = `${request.method} ${path.replace(/_[0-9a-f]{32}/g, "_{id}")}`;
    response.setHeader("access-control-allow-origin", request.headers.origin ?? "*");
    response.setHeader("vary", "origin");
    if (request.method === "OPTIONS") {
      response.setHeader("access-control-allow-headers", "authorization,content-type,idempotency-key,last-event-id");
      response.setHeader("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE");
      response.setHeader("access-control-expose-headers", "retry-after");
      response.writeHead(204).end();
      return;
    }
    if (options.widgetDir && /^\/widget(\.js$|\/)/.test(path)) return serveWidget(options.widgetDir, path, response);
    engine.requests.set(route, (engine.requests.get(route) ?? 0) + 1);

    const fault = engine.faults.find((one) => one.path.test(path) && (one.method ?? request.method) === request.method);
    if (fault) engine.faults.splice(engine.faults.indexOf(fault), 1);
    if (fault?.answer === "refuse") return void response.destroy();
    if (fault && fault.answer !== "lose") {
      if (fault.retryAfterSeconds) response.setHeader("retry-after", fault.retryAfterSeconds);
      throw new Refusal(fault.answer);
    }
    const body = await readJson(request);
    const respond = (status: number, value: unknown) => {
      if (fault?.answer === "lose") response.destroy();
      else response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    };

    if (route === "POST /v1/visitor-sessions") {
      if (body["publishableKey"] !== publishableKey) throw new Refusal("unauthenticated");
      const visitorId = tokens.get(String(body["visitorToken"]))?.visitorId ?? newId("visitor");
      const visitorToken = newId("token");
      const expiresAtMs = Date.now() + (options.tokenTtlMs ?? 3_600_000);
      tokens.set(visitorToken, { visitorId, expiresAtMs });
      const visitor = { id: visitorId, externalId: null, createdAt: new Date().toISOString() };
      const expiresAt = new Date(expiresAtMs).toISOString();
      return respond(201, { visitorToken, expiresAt, visitor, site: engine.site });
    }

    // Where a provider asks whether the site may act for its account, in a tab of its own.
    const consent = /^\/consent\/(\w+)(\/allow)?$/.exec(path);
    if (consent) {
      const [, linkId = "", allow] = consent;
      const says = !allow
        ? `<a href="${path}/allow">Allow</a>`
        : interrupts.connect(linkId)
          ? "Connected. You can close this page."
          : "This link is no longer good.";
      response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html><title>Consent</title>${says}`);
      return;
    }

    const visitorId = visitorOf(request.headers.authorization?.replace("Bearer ", ""));
    const key = request.headers["idempotency-key"];
    if (typeof key === "string" && idempotent.has(key)) return respond(201, idempotent.get(key));
    const [, , room, id = "", verb] = path.split("/");
    if (request.method === "POST" && path === "/v1/conversations") {
      const conversation = {
        id: newId("conv"),
        visitorId,
        log: [],
        submissions: new Map(),
        followers: new Set<never>(),
      };
      engine.conversations.set(conversation.id, conversation);
      const resource = { id: conversation.id, agentId: engine.site.agent.id, visitorId, mode: "agent", lastSeq: 0 };
      if (typeof key === "string") idempotent.set(key, resource);
      return respond(201, resource);
    }
    if (room === "runs") {
      const run = runs.get(id);
      if (!run || conversationOf(run.conversationId).visitorId !== visitorId) throw new Refusal("not_found");
      if (verb === "cancel") return respond(200, cancel(id));
      if (verb === "resume") {
        const { interruptId, decision, payload = null } = body;
        const record = { decision: String(decision), payload, by: "visitor" };
        if (!interrupts.decide(id, String(interruptId), record)) throw new Refusal("interrupt_resolved");
        if (typeof key === "string") idempotent.set(key, { id });
      }
      return respond(200, { id, conversationId: run.conversationId, interrupts: interrupts.openOf(id) });
    }
    if (path === "/v1/connections/link") {
      const linkId = interrupts.link(String(body["runId"]), String(body["interruptId"]));
      if (!linkId) throw new Refusal("interrupt_resolved");
      const expiresAt = new Date(Date.now() + (options.linkTtlMs ?? 3_600_000)).toISOString();
      return respond(201, { connectionId: newId("conn"), url: `${engine.url}/consent/${linkId}`, expiresAt });
    }
    const conversation = conversationOf(id);
    if (conversation.visitorId !== visitorId) throw new Refusal("not_found");
    if (request.method === "POST" && verb === "messages") {
      return respond(202, submit(conversation, String(body["clientMessageId"]), String(body["text"])));
    }
    if (verb === "client-tools") {
      const { pageId, tools } = body as { pageId: string; tools: OfferedTools["tools"] };
      const good = tools.filter(({ name }) => !interrupts.refused.has(name));
      if (good.length > 0) interrupts.offered.set(pageId, { conversationId: id, tools: good });
      else interrupts.offered.delete(pageId);
      const problems = tools.flatMap(({ name }) => {
        const problem = interrupts.refused.get(name);
        return problem === undefined ? [] : [{ tool: name, problem }];
      });
      return respond(200, { expiresAt: new Date(Date.now() + 60_000).toISOString(), problems });
    }
    if (verb === "events") {
      const after = Number(url.searchParams.get("after") ?? 0);
      const limit = Number(url.searchParams.get("limit") ?? 20);
      const items = mergeAdjacent(conversation.log.slice(after)).slice(0, limit);
      const last = items.at(-1)?.seq ?? after;
      return respond(200, { items, nextCursor: last < conversation.log.length ? String(last) : null });
    }
    if (verb === "stream") {
      if (engine.realtime === "unavailable") throw new Refusal("unavailable");
      response.writeHead(200, { "content-type": "text/event-stream" });
      const write = (envelopes: Envelope[]) => {
        for (const one of envelopes) response.write(`id: ${one.seq}\ndata: ${JSON.stringify(one)}\n\n`);
      };
      response.write(": hello\n\n");
      write(conversation.log.slice(Number(request.headers["last-event-id"] ?? 0)));
      conversation.followers.add(write);
      await once(response, "close");
      conversation.followers.delete(write);
      return;
    }
    throw new Refusal("not_found");
  }

  engine.url = `http://127.0.0.1:${await listen(http, options.port ?? 0)}`;
  return engine;
}

class Refusal extends Error {
  readonly code: ProblemCode;
  constructor(code: ProblemCode) {
    super(code);
    this.code = code;
  }
}

function answerProblem(response: ServerResponse, code: ProblemCode): void {
  const { status, title } = problems[code];
  const body = { type: "about:blank", title, status, detail: `${title}.`, code, requestId: "req_fake" };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(body));
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return text ? JSON.parse(text) : {};
}

function serveWidget(dir: string, path: string, response: ServerResponse): void {
  const file = join(dir, basename(path));
  const type = MIME[file.split(".").at(-1) ?? ""] ?? "application/octet-stream";
  createReadStream(file)
    .once("open", () =>
      response.writeHead(200, { "content-type": type, "cross-origin-resource-policy": "cross-origin" }),
    )
    .once("error", () => response.writeHead(404).end())
    .pipe(response);
}
