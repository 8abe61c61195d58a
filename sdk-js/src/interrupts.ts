/**
 * What a run that waits is told by the person, or the page, it waits for. A module of its own: hardly any conversation
 * needs it, so whoever embeds the conversation client loads it when a run first waits.
 *
 *   const { resume } = createInterruptCalls({ baseUrl, credentials });
 *   await resume(run.id, interrupt.id, "approve");
 */
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { retrying } from "./backoff.ts";
import { requestAs, type Credentials, type HttpOptions, type RequestOptions } from "./http.ts";
import { randomId } from "./random-id.ts";

const ATTEMPTS = 4;

/** `result` and `error` answer a client tool or a form; the others decide. An account is connected by its link. */
export type VisitorDecision = "approve" | "decline" | "result" | "error";

export interface ConnectionLink {
  connectionId: string;
  /** Where the visitor signs in and consents; for a new tab. */
  url: string;
  /** ISO 8601 UTC; null when it does not end. */
  expiresAt: string | null;
}

/** A tool of the visitor's page, as the model is told of it. */
export interface ClientTool {
  name: string;
  description: string;
  /** JSON Schema of the arguments: an object. */
  parameters: Record<string, unknown>;
  /** JSON Schema that the result must fit; anything does without one. */
  resultSchema?: Record<string, unknown>;
}

export interface ClientToolsOffer {
  /** ISO 8601 UTC. */
  expiresAt: string;
  /** Tools that the model is not told of, and why: a name or a schema that no model takes. */
  problems: readonly { tool: string; problem: string }[];
}

export interface InterruptCalls {
  /**
   * Decides an interrupt; with a run's last one it goes on. The first decision wins: for any other this rejects with
   * `interrupt_resolved`. `payload` of `result` is `{ content }`, of `error` `{ message }`, of `decline` `{ reason? }`.
   */
  resume(runId: string, interruptId: string, decision: VisitorDecision, payload?: unknown): Promise<Run>;
  /** A new link for an interrupt `connection`. When it has been followed to its end, the run goes on by itself. */
  connectionLink(runId: string, interruptId: string): Promise<ConnectionLink>;
  /** What a run still waits for: a log that is being read again may name what is long decided. */
  openInterrupts(runId: string): Promise<readonly Interrupt[]>;
  /**
   * Replaces the tools that a page offers in a conversation, `[]` takes them away. The server forgets a page within a
   * minute: repeat it. `pageId` says which page's they are, as only that page can execute them.
   */
  setClientTools(conversationId: string, pageId: string, tools: readonly ClientTool[]): Promise<ClientToolsOffer>;
}

export interface InterruptCallsOptions extends HttpOptions {
  credentials: Credentials;
  random?: () => number;
}

/** Each call is repeated while its failure is transient, and rejects with AgentEngineError. */
export function createInterruptCalls(options: InterruptCallsOptions): InterruptCalls {
  const { random = Math.random } = options;
  const call = <T>(path: string, request?: RequestOptions) =>
    retrying(ATTEMPTS, random, () => requestAs<T>(options, `/v1/${path}`, request));
  const post = <T>(path: string, body: unknown) => call<T>(path, { body, headers: { "idempotency-key": randomId() } });
  return {
    resume: (runId, interruptId, decision, payload) =>
      post<Run>(`runs/${runId}/resume`, { interruptId, decision, payload }),
    connectionLink: (runId, interruptId) => post("connections/link", { runId, interruptId }),
    openInterrupts: async (runId) => (await call<Run>(`runs/${runId}`)).interrupts,
    setClientTools: (conversationId, pageId, tools) =>
      call(`conversations/${conversationId}/client-tools`, { method: "PUT", body: { pageId, tools } }),
  };
}
