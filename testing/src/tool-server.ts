/**
 * The outside world that HTTP tools act on, with a ledger of everything that was done to it.
 *
 * Any path is an endpoint; the method is its effect: GET reads · PUT is idempotent (a known `Idempotency-Key` gets the
 * saved answer and causes nothing) · POST writes on every call, whatever key it carries, as careless APIs do.
 * `GET /ledger` shows the ledger to other processes, `POST /faults` queues faults from them (a JSON array).
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { closeServer, listen } from "./listening.ts";

export type ToolEffect = "read" | "idempotent" | "write";

/** What goes wrong with one call. `before` and `after` are relative to the effect. */
export type ToolFault =
  /** Never answers. */
  | { kind: "hang"; when: "before" | "after" }
  /** Answers with an error; default status 500. */
  | { kind: "error"; when: "before" | "after"; status?: number; body?: unknown }
  /** Closes the connection without an answer. */
  | { kind: "cut"; when: "before" | "after" }
  | { kind: "rateLimited"; retryAfterSeconds: number }
  /** Waits, then does it. */
  | { kind: "slow"; delayMs: number }
  /** Waits until it is opened, then does it: for a moment that a test chooses. */
  | { kind: "gate"; opened: Promise<unknown> }
  /** Does it and answers with something that is not JSON. */
  | { kind: "garbage" };

export interface LedgerEntry {
  effect: ToolEffect;
  method: string;
  path: string;
  /** The `Idempotency-Key`; null when the caller sent none. */
  key: string | null;
  body: unknown;
  headers: Record<string, string | string[] | undefined>;
  /** What the call did to the world: `applied` it, `replayed` an earlier one's answer, or nothing (yet). */
  outcome: "none" | "applied" | "replayed";
  fault: ToolFault | null;
  /** ISO 8601 UTC. */
  at: string;
}

export interface ToolServerOptions {
  port?: number;
  /** The fault of a call; asked when the queue is empty. */
  fault?: (call: LedgerEntry) => ToolFault | null;
  /** The answer to a call; default `{ ok, path, received }`. */
  answer?: (call: LedgerEntry) => unknown;
}

export interface ToolServer {
  url: string;
  port: number;
  /** Every call received, oldest first. */
  ledger: LedgerEntry[];
  /** How often the world was changed under a key. */
  effectsOf(key: string): number;
  /** The next calls get these faults, in order; null lets a call through. */
  enqueueFaults(...faults: (ToolFault | null)[]): void;
  stop(): Promise<void>;
}

const EFFECTS: Record<string, ToolEffect> = { GET: "read", PUT: "idempotent", POST: "write" };

export async function startToolServer(options: ToolServerOptions = {}): Promise<ToolServer> {
  const ledger: LedgerEntry[] = [];
  const faults: (ToolFault | null)[] = [];
  const saved = new Map<string, string>();
  const sockets = new Set<Socket>();

  function apply(call: LedgerEntry): string {
    const replay = call.effect === "idempotent" && call.key !== null ? saved.get(call.key) : undefined;
    if (replay !== undefined) {
      call.outcome = "replayed";
      return replay;
    }
    call.outcome = "applied";
    const answer = JSON.stringify(options.answer?.(call) ?? { ok: true, path: call.path, received: call.body });
    if (call.effect === "idempotent" && call.key !== null) saved.set(call.key, answer);
    return answer;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    const text = await readText(request);
    if (path === "/ledger") return send(response, 200, JSON.stringify(ledger));
    if (path === "/faults" && request.method === "POST") {
      faults.push(...(JSON.parse(text) as (ToolFault | null)[]));
      return send(response, 202, "{}");
    }
    const effect = EFFECTS[request.method ?? ""];
    if (!effect) return send(response, 405, `{"error":"method not allowed"}`);
    const key = request.headers["idempotency-key"];
    const call: LedgerEntry = {
      effect,
      method: request.method ?? "",
      path,
      key: typeof key === "string" ? key : null,
      body: parseBody(text),
      headers: request.headers,
      outcome: "none",
      fault: null,
      at: new Date().toISOString(),
    };
    ledger.push(call);
    call.fault = faults.length > 0 ? (faults.shift() ?? null) : (options.fault?.(call) ?? null);
    await answerCall(response, call);
  }

  async function answerCall(response: ServerResponse, call: LedgerEntry): Promise<void> {
    const { fault } = call;
    if (fault && "when" in fault && fault.when === "before") return fail(response, fault);
    if (fault?.kind === "rateLimited") {
      response.setHeader("retry-after", String(fault.retryAfterSeconds));
      return send(response, 429, `{"error":"too many requests"}`);
    }
    if (fault?.kind === "slow") await new Promise((resolve) => setTimeout(resolve, fault.delayMs));
    if (fault?.kind === "gate") await fault.opened;
    const answer = apply(call);
    if (fault && "when" in fault) return fail(response, fault);
    if (call.outcome === "replayed") response.setHeader("idempotency-replayed", "true");
    send(response, 200, fault?.kind === "garbage" ? "<html>\u0000{" : answer);
  }

  function fail(response: ServerResponse, fault: Extract<ToolFault, { when: unknown }>): void {
    switch (fault.kind) {
      case "hang":
        return;
      case "cut":
        response.socket?.destroy();
        return;
      case "error":
        send(response, fault.status ?? 500, JSON.stringify(fault.body ?? { error: "something broke" }));
    }
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, 400, JSON.stringify({ error: String(error) }));
    });
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const port = await listen(server, options.port ?? 0);

  return {
    url: `http://127.0.0.1:${port}`,
    port,
    ledger,
    effectsOf: (key) => ledger.filter((call) => call.key === key && call.outcome === "applied").length,
    enqueueFaults: (...next) => faults.push(...next),
    stop: async () => {
      const closed = closeServer(server);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function readText(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

function parseBody(text: string): unknown {
  if (text === "") return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function send(response: ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.end(body);
}
