import type { IncomingHttpHeaders } from "node:http";

/** The part of an OpenAI chat completion request that the fake reads. */
export interface ChatRequest {
  model: string;
  messages: ChatMessage[];
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  tools?: { type: string; function: { name: string; description?: string; parameters?: unknown } }[];
  [setting: string]: unknown;
}

export interface ChatMessage {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  content?: string | { type: string; text?: string }[] | null;
  tool_calls?: { id: string; type: string; function: { name: string; arguments: string } }[];
  tool_call_id?: string;
}

/** How an exchange ended: the script ran to its end, a fault of the script ended it, or the connection was lost. */
export type Ending = "completed" | "fault" | "client_gone";

/** What the server remembers of a request, for assertions. Filled in while the answer goes out. */
export interface RecordedRequest {
  body: ChatRequest;
  headers: IncomingHttpHeaders;
  /** Which answer to the last user message this is: the assistant messages after it. */
  turn: number;
  /** How often this turn was asked before, counted for requests with a directive. */
  attempt: number;
  /** Content deltas written so far. */
  tokensSent: number;
  end: Ending | null;
  /** Resolves when `end` is set. */
  ended: Promise<void>;
  /** Lets this request pass its `hold` steps, also those it has not come to yet. */
  release(): void;
  released: Promise<void>;
}

/** Parses a request body; throws an Error with a message for the client. */
export function parseChatRequest(json: string): ChatRequest {
  const body: unknown = JSON.parse(json);
  if (typeof body !== "object" || body === null) throw new Error("the body must be an object");
  if (!("model" in body) || typeof body.model !== "string") throw new Error("you must provide a model parameter");
  if (!("messages" in body) || !Array.isArray(body.messages) || body.messages.length === 0) {
    throw new Error("messages must be a non-empty array");
  }
  const request = body as ChatRequest;
  refuseUnanswered(request.messages);
  return request;
}

/** As OpenAI does: every call is answered right after it was asked for, and nothing else is answered. */
function refuseUnanswered(messages: readonly ChatMessage[]): void {
  let open = new Set<string>();
  const refuse = () => {
    if (open.size === 0) return;
    throw new Error(
      `An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ${[...open].join(", ")}`,
    );
  };
  for (const message of messages) {
    if (message.role === "tool") {
      if (open.delete(message.tool_call_id ?? "")) continue;
      throw new Error("messages with role 'tool' must be a response to a preceding message with 'tool_calls'.");
    }
    refuse();
    open = new Set((message.tool_calls ?? []).map(({ id }) => id));
  }
  refuse();
}

export function textOf(message: ChatMessage): string {
  if (typeof message.content === "string") return message.content;
  return (message.content ?? []).map((part) => part.text ?? "").join("");
}

/** The last user message's text, and how many assistant messages follow it. */
export function lastUserTurn(messages: readonly ChatMessage[]): { text: string; turn: number } {
  let turn = 0;
  for (let i = messages.length - 1; i >= 0; i--) {
    const message = messages[i] as ChatMessage;
    if (message.role === "user") return { text: textOf(message), turn };
    if (message.role === "assistant") turn++;
  }
  return { text: "", turn };
}

/** A rough count, four characters a token: enough for usage that rises with the prompt. */
export function promptTokens(messages: readonly ChatMessage[]): number {
  let characters = 0;
  for (const message of messages) characters += textOf(message).length;
  return Math.max(1, Math.ceil(characters / 4));
}
