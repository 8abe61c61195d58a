/**
 * The partner's entry: the REST API as typed calls. Works wherever `fetch` does (Node, Deno, Bun, workers, browsers).
 *
 *   const engine = AgentEngine({ apiKey: "sk_…", baseUrl: "https://agents.example.com" });
 *   const { run } = await engine.runs.create({ agentId, input: "When do you open?" });
 *   for await (const { event } of engine.runs.stream(run.id)) console.log(event.type);
 *
 * Every call rejects with AgentEngineError. A POST carries an Idempotency-Key, so transient failures are retried safely.
 */
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { isTerminal } from "@agent-engine/protocol/events.ts";
import type {
  Agent,
  AgentConfig,
  AgentVersion,
  Conversation,
  EventPage,
  ModelChoice,
  Page,
  QueueClass,
  Run,
  Submission,
} from "@agent-engine/protocol/resources.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import { backoffMs, delay, retrying } from "./backoff.ts";
import { readEventStream } from "./event-stream.ts";
import { requestAs, type HttpOptions, type RequestOptions } from "./http.ts";
import { AgentEngineError } from "./problem.ts";
import { randomId } from "./random-id.ts";

const ATTEMPTS = 3;

export interface AgentEngineOptions extends HttpOptions {
  /** A tenant's secret key, `sk_…`. Never in a browser. */
  apiKey: string;
  random?: () => number;
}

export interface PageRequest {
  /** 1–100, 20 when left out. */
  limit?: number;
  cursor?: string;
}

export interface CallOptions {
  /** Repeats of a create with the same key answer the first one's result. */
  idempotencyKey?: string;
}

export interface RunRequest {
  agentId: string;
  input: string;
  conversationId?: string;
  queueClass?: QueueClass;
}

export interface ResumeRequest {
  interruptId: string;
  decision: "approve" | "decline" | "result" | "error" | "retry" | "done" | "abort";
  payload?: unknown;
}

export interface ForkRequest {
  /** The event from which the run goes on; where it began by default. */
  atSeq?: number;
  changes?: {
    instructions?: string;
    model?: Partial<ModelChoice> & Pick<ModelChoice, "provider">;
    message?: string;
    /** In place of recorded results, by tool call of the original run. */
    toolResults?: Record<string, string>;
    /** True by default: calls that the original made are answered with what it was answered. */
    reuseToolResults?: boolean;
    /** False by default: any other call that changes something waits for an approval. */
    allowSideEffects?: boolean;
  };
}

export type AgentRequest = { name: string } & Partial<AgentConfig>;
export type AgentEngine = ReturnType<typeof AgentEngine>;

export function AgentEngine(options: AgentEngineOptions) {
  const { apiKey, random = Math.random } = options;
  const as = {
    ...options,
    credentials: {
      token: async () => apiKey,
      renew: () => Promise.reject(new AgentEngineError("unauthenticated", "The API key was refused.", 401)),
    },
  };

  const call = <T>(path: string, request?: RequestOptions): Promise<T> =>
    retrying(ATTEMPTS, random, () => requestAs<T>(as, `/v1/${path}`, request));
  const get = <T>(path: string, query: object = {}): Promise<T> => call(withQuery(path, query));
  const post = <T>(path: string, body: unknown, { idempotencyKey = randomId() }: CallOptions = {}): Promise<T> =>
    call(path, { method: "POST", body, headers: { "idempotency-key": idempotencyKey } });

  /** Follows a stream through any number of cuts: each goes on where the last ended, until `isLast` says it is over. */
  async function* follow(
    path: string,
    after: number,
    signal: AbortSignal | undefined,
    isLast: (envelope: Envelope) => boolean,
  ): AsyncGenerator<Envelope> {
    let cursor = after;
    for (let failures = 0; ;) {
      try {
        const stream = await requestAs(
          as,
          `/v1/${path}`,
          { headers: { "last-event-id": `${cursor}` }, signal: signal ?? new AbortController().signal },
          (response) => response,
        );
        for await (const envelope of readEventStream(stream)) {
          if (envelope.seq <= cursor) continue;
          failures = 0;
          cursor = envelope.seq;
          yield envelope;
          if (isLast(envelope)) return;
        }
      } catch (error) {
        if (signal?.aborted) return;
        if (error instanceof AgentEngineError && !error.isTransient) throw error;
      }
      if (signal?.aborted) return;
      await delay(backoffMs(failures++, random));
    }
  }

  return {
    runs: {
      create: (request: RunRequest, options?: CallOptions) => post<Submission>("runs", request, options),
      get: (id: string) => get<Run>(`runs/${id}`),
      list: (page?: PageRequest) => get<Page<Run>>("runs", page),
      events: (id: string, page?: { after?: number; limit?: number }) => get<EventPage>(`runs/${id}/events`, page),
      /** The run's events from the first (or after a cursor) to its last, as they happen. */
      stream: (id: string, { after = 0, signal }: { after?: number; signal?: AbortSignal } = {}) =>
        follow(`runs/${id}/stream`, after, signal, ({ event }) => isTerminal(event)),
      cancel: (id: string, options?: CallOptions) => post<Run>(`runs/${id}/cancel`, {}, options),
      resume: (id: string, request: ResumeRequest, options?: CallOptions) =>
        post<Run>(`runs/${id}/resume`, request, options),
      /** Runs it again from one of its events, with changes, in a new conversation. */
      fork: (id: string, request: ForkRequest = {}, options?: CallOptions) =>
        post<Submission>(`runs/${id}/fork`, request, options),
    },
    agents: {
      create: (request: AgentRequest, options?: CallOptions) => post<Agent>("agents", request, options),
      get: (id: string) => get<Agent>(`agents/${id}`),
      list: (page?: PageRequest) => get<Page<Agent>>("agents", page),
      update: (id: string, changes: Partial<AgentRequest>) =>
        call<Agent>(`agents/${id}`, { method: "PATCH", body: changes }),
      publish: (id: string, options?: CallOptions) => post<AgentVersion>(`agents/${id}/publish`, {}, options),
      versions: (id: string, page?: PageRequest) => get<Page<AgentVersion>>(`agents/${id}/versions`, page),
    },
    conversations: {
      create: (request: { agentId?: string } = {}, options?: CallOptions) =>
        post<Conversation>("conversations", request, options),
      get: (id: string) => get<Conversation>(`conversations/${id}`),
      list: (page?: PageRequest) => get<Page<Conversation>>("conversations", page),
      events: (id: string, page?: { after?: number; limit?: number }) =>
        get<EventPage>(`conversations/${id}/events`, page),
      state: (id: string, { at }: { at?: number } = {}) => get<ConversationState>(`conversations/${id}/state`, { at }),
      /** Everything that happens in the conversation from a cursor on; ends only by its signal. */
      stream: (id: string, { after = 0, signal }: { after?: number; signal?: AbortSignal } = {}) =>
        follow(`conversations/${id}/stream`, after, signal, () => false),
    },
  };
}

function withQuery(path: string, query: object): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  return search.size > 0 ? `${path}?${search}` : path;
}
