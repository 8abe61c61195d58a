/** A run that is to start later. Times are ISO 8601 UTC. */
export interface Schedule {
  id: string;
  agentId: string;
  /** Null until it has started, when it starts one of its own. */
  conversationId: string | null;
  /** When it is due; it starts within seconds, and waits for its place like any run. */
  at: string;
  /** What the agent is to do; of a partner's, what is said to it. */
  input: string;
  /** `agent`: a follow-up that the agent planned; `staff`: made over the API. */
  createdBy: "agent" | "staff";
  status: "open" | "started" | "cancelled" | "failed";
  /** Why it was cancelled or failed. */
  reason: string | null;
  runId: string | null;
  createdAt: string;
}
