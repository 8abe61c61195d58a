/** The resources of the HTTP API, as JSON. Times are ISO 8601 UTC, money is in micro-dollars where it appears. */
import type { FinishReason, ForkOrigin, Interrupt, TokenUsage } from "./events.ts";
import type { Envelope } from "./envelope.ts";
import type { ProblemCode } from "./problems.ts";

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export interface Conversation {
  id: string;
  agentId: string;
  visitorId: string | null;
  mode: "agent" | "operator";
  lastSeq: number;
  createdAt: string;
  /** Only on a fork, and for staff. */
  forkedFrom?: ForkOrigin;
}

export interface Message {
  id: string;
  conversationId: string;
  clientMessageId: string | null;
  role: "user" | "assistant";
  text: string;
  createdAt: string;
}

export type RunStatus = "queued" | "running" | "waiting" | "completed" | "failed" | "cancelled";
export type QueueClass = "priority" | "standard";

export interface Run {
  id: string;
  conversationId: string;
  agentId: string;
  status: RunStatus;
  /**
   * What is still to be decided. On a run that has ended, for staff: writes of which nobody knows whether they happened.
   * None while `waiting`: all is decided, and a worker takes it up.
   */
  interrupts: Interrupt[];
  attempt: number;
  usage: TokenUsage[];
  finishReason: FinishReason | null;
  /** `message` is fit for visitors; `detail` tells staff what happened. */
  error: { code: string; message: string; detail?: string } | null;
  createdAt: string;
  finishedAt: string | null;
  /** Only on a fork, and for staff. */
  forkedFrom?: ForkOrigin;
}

export type JobState = "blocked" | "pending" | "dispatched" | "done" | "dead";

/** One handing over of a run to a worker. A run that goes on after an interrupt, or is taken over, is handed over anew. */
export interface Job {
  /** The run's id and the number of the hand-over. */
  id: string;
  runId: string;
  handOver: number;
  queueClass: QueueClass;
  /**
   * `blocked`: behind another run of its conversation · `pending`: waits for a place · `dispatched`: a worker was told ·
   * `done`: answered · `dead`: nobody will execute the run any more.
   */
  state: JobState;
  /** Why it is dead; `tenant_at_cap` while it waits for another run of its tenant to end. */
  reason: string | null;
  createdAt: string;
  dispatchedAt: string | null;
}

/** Answer of `POST /v1/runs`: 202. */
export interface Submission {
  message: Message;
  run: Run;
}

/** Answer of `POST …/messages`: 202. */
export interface SentMessage {
  message: Message;
  /** Null while a person of the team has the conversation: they answer, and no agent does. */
  run: Run | null;
}

export interface Visitor {
  id: string;
  externalId: string | null;
  createdAt: string;
}

/** What the widget needs to know about its site; nothing secret. */
export interface SiteProfile {
  id: string;
  name: string;
  agent: { id: string; name: string; greeting: string | null; suggestions: string[]; isLanguageModel: boolean };
  theme: Record<string, string>;
}

/** Answer of `POST /v1/visitor-sessions`: 201. */
export interface VisitorSession {
  visitorToken: string;
  expiresAt: string;
  visitor: Visitor;
  site: SiteProfile;
}

export type ModelProviderName = "auto" | "openai" | "anthropic" | "openai-compatible" | "extractive";
export type ToolPolicy = "auto" | "approve" | "off";
export type DoubleSendPolicy = "queue" | "interrupt" | "reject";

export interface ModelChoice {
  provider: ModelProviderName;
  /** The vendor's model name; null lets the provider's default apply. */
  name: string | null;
  settings: {
    temperature?: number;
    topP?: number;
    maxOutputTokens?: number;
    /** For `openai-compatible`: where the model is served. */
    baseUrl?: string;
  };
}

/** Who may approve a call, and for how long. */
export interface ApprovalRules {
  by: "anyone" | "visitor" | "operator";
  expiresInSeconds: number;
}

export interface ToolkitChoice {
  toolkit: string;
  /** Policy by tool name; tools not named take `defaultPolicy`. */
  tools: Record<string, ToolPolicy>;
  defaultPolicy: ToolPolicy;
  /** Of its tools whose policy is `approve`; anyone within a day where it is absent. */
  approvals?: ApprovalRules;
  /** Settings of this toolkit, by its kind; validated by the toolkit. */
  settings: Record<string, unknown>;
}

export interface AgentLimits {
  /** Model turns in a run. */
  maxSteps: number;
  /** Input + output tokens of a run. */
  maxTokens: number;
  /** Cost of a run in micro-dollars; null: no limit. */
  maxCostMicros: number | null;
  /** Seconds a run may be active, waiting excluded. */
  maxSeconds: number;
}

/** What a version of an agent says; the draft is edited, a published version never changes. */
export interface AgentConfig {
  instructions: string;
  greeting: string | null;
  suggestions: string[];
  model: ModelChoice;
  toolkits: ToolkitChoice[];
  knowledge: { enabled: boolean; maxResults: number };
  doubleSend: DoubleSendPolicy;
  limits: AgentLimits;
  queueClass: QueueClass;
}

export interface Agent {
  id: string;
  name: string;
  draft: AgentConfig;
  /** The version that runs use; null until first published. */
  publishedVersion: number | null;
  /** True when the draft differs from the published version. */
  hasUnpublishedChanges: boolean;
  createdAt: string;
  updatedAt: string;
}

export interface AgentVersion {
  agentId: string;
  version: number;
  config: AgentConfig;
  publishedAt: string;
}

/** RFC 9457 body of every error. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ProblemCode;
  requestId: string;
}

export type EventPage = Page<Envelope>;

export interface Document {
  id: string;
  title: string;
  url: string | null;
  status: "queued" | "processing" | "ready" | "failed";
  error: string | null;
  createdAt: string;
}
