/**
 * The interface every toolkit implements: built-in, HTTP, OpenAPI, MCP, Composio, client tools. A toolkit describes
 * its tools and executes one attempt of one call; it never retries and never decides what a failure means for the run.
 */
import type { Failure } from "./failure.ts";

/** What a call does to the world; only the first two are ever repeated without a person. */
export type ToolEffect = "read" | "idempotent" | "write";

/** Whose credential a call needs. */
export type ConnectionNeed = "none" | "tenant" | "visitor";

export type JsonSchema = Record<string, unknown>;

export interface ToolDescription {
  /** Valid for every model provider and namespaced by its toolkit: make it with `toolName`. */
  name: string;
  /** Tells the model when and how to use the tool. */
  description: string;
  /** JSON Schema of the arguments: an object. */
  parameters: JsonSchema;
  effect: ToolEffect;
  /** What the connection must have been granted; empty when it needs none. */
  scopes: readonly string[];
  connection: ConnectionNeed;
  /** Whether visitors may see what goes in and what comes out. Staff always may. */
  visibility: { arguments: boolean; results: boolean };
  /** Its answers carry `sources`, which the assistant's text may cite. Only such a tool's results are read for citations. */
  givesSources?: true;
}

/** A credential chosen by us, never by a model or a browser. */
export interface ToolConnection {
  id: string;
  credential: Record<string, unknown>;
}

/** For whom and within what a call is made. */
export interface ToolContext {
  tenantId: string;
  agentId: string;
  conversationId: string;
  runId: string;
  visitorId: string | null;
  correlationId: string;
}

export interface ToolRequest {
  /** The same for every attempt of one call, and for no other call. */
  idempotencyKey: string;
  /** Validated against the tool's parameters. */
  arguments: Record<string, unknown>;
  connection: ToolConnection | null;
  /** Aborted on cancel and at the deadline. */
  signal: AbortSignal;
  /** Milliseconds since the epoch after which nobody waits for the answer. */
  deadline: number;
  context: ToolContext;
  /** How far it is, in words for people. Never throws; said too often, only some of it is shown. */
  onProgress?: (text: string) => void;
}

/** A passage a result rests on, which the answer can cite. */
export interface ToolSource {
  documentId: string;
  title: string;
  url: string | null;
  quote: string;
  /** How well it covers the question, 0..1. */
  score: number;
}

/**
 * A definite answer. Text goes to the model as it is, anything else as JSON. `isError` marks a refusal that the model
 * should read and react to; the call had no effect.
 */
export interface ToolAnswer {
  content: unknown;
  isError?: boolean;
  /** Numbered by the engine and given to the model in place of `content`. */
  sources?: readonly ToolSource[];
}

/** What the visitor is asked in the place of a call that their page answers. */
export interface ToolQuestion {
  /** Human words for whoever waits. */
  message: string;
  metadata: Record<string, unknown>;
  /** JSON Schema of the answer. */
  responseSchema?: JsonSchema;
  expiresInMs: number;
}

export interface Toolkit {
  /** Its namespace: the first part of its tools' names. */
  readonly name: string;
  /** Where its calls go, for instance `api.shop.example`; null for what is built in. */
  readonly host: string | null;
  list(): Promise<readonly ToolDescription[]>;
  describe(name: string): Promise<ToolDescription | null>;
  /** One attempt. Throws when there is no definite answer; `classifyFailure` says what the throw means. */
  execute(name: string, request: ToolRequest): Promise<ToolAnswer>;
  /** Of a tool that the visitor's page answers: what to ask for these arguments. Such a tool is never executed. */
  question?(name: string): ((args: Readonly<Record<string, unknown>>) => ToolQuestion) | undefined;
  /** Never throws. An error it does not know is `unknown_outcome`. */
  classifyFailure(error: unknown): Failure;
  /** Lets go of what it keeps open between calls: at the end of a run, however that ends. Never throws. */
  close?(): Promise<void>;
}
