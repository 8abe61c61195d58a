/** A client that is not ours: fetch and the official Socket.IO client, with only the public contract between. */
import { deliver } from "@agent-engine/protocol/deliver.ts";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { Conversation, EventPage, Run, Submission, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { REALTIME_PATH, type ClientToServer, type ServerToClient } from "@agent-engine/protocol/realtime.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { io, type Socket } from "socket.io-client";
import { SITE_ORIGIN } from "./shop-tenant.ts";

export interface Api {
  token: string;
  request<T>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T>;
}

export class ApiError extends Error {
  readonly status: number;
  readonly problem: { code: string; detail: string };

  constructor(status: number, problem: { code: string; detail: string }) {
    super(`${status} ${problem.code}: ${problem.detail}`);
    this.status = status;
    this.problem = problem;
  }
}

export function apiAt(url: string, token: string): Api {
  return {
    token,
    async request<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const answer = await response.json();
      if (!response.ok) throw new ApiError(response.status, answer as ApiError["problem"]);
      return answer as T;
    },
  };
}

export async function openVisitor(url: string, publishableKey: string): Promise<Api> {
  const session = await apiAt(url, "").request<VisitorSession>(
    "POST",
    "/v1/visitor-sessions",
    { publishableKey },
    { origin: SITE_ORIGIN },
  );
  return apiAt(url, session.visitorToken);
}

export const createConversation = (api: Api) => api.request<Conversation>("POST", "/v1/conversations", {});

export const send = (api: Api, conversationId: string, clientMessageId: string, text: string) =>
  api.request<Submission>("POST", `/v1/conversations/${conversationId}/messages`, { clientMessageId, text });

export const getRun = (api: Api, runId: string) => api.request<Run>("GET", `/v1/runs/${runId}`);

/** Reads the whole log a page at a time, as a client that only polls would. */
export async function pollState(api: Api, conversationId: string): Promise<ConversationState> {
  let state = initialState;
  for (;;) {
    const page = await api.request<EventPage>(
      "GET",
      `/v1/conversations/${conversationId}/events?after=${state.lastSeq}`,
    );
    if (page.items.length === 0) return state;
    state = deliver(state, page.items).state;
  }
}

export interface Reader {
  readonly state: ConversationState;
  /** Every envelope as it came. */
  readonly received: readonly Envelope[];
  /** Deliveries that did not follow the cursor. */
  readonly gaps: number;
  close(): void;
}

/** Follows a conversation over Socket.IO from a cursor; what it holds is the fold of what it was sent. */
export async function follow(url: string, token: string, conversationId: string, after = 0): Promise<Reader> {
  const socket: Socket<ServerToClient, ClientToServer> = io(url, {
    path: REALTIME_PATH,
    transports: ["websocket"],
    auth: { token },
    extraHeaders: { origin: SITE_ORIGIN },
    forceNew: true,
  });
  const received: Envelope[] = [];
  let state: ConversationState = { ...initialState, lastSeq: after };
  let gaps = 0;
  socket.on("events", (push) => {
    if (push.conversationId !== conversationId) return;
    received.push(...push.events);
    const delivery = deliver(state, push.events);
    state = delivery.state;
    if (delivery.gap) gaps++;
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  const ack = await socket.emitWithAck("subscribe", { conversationId, after });
  if (!ack.ok) throw new Error(`${ack.error.code}: ${ack.error.detail}`);
  return {
    get state() {
      return state;
    },
    received,
    get gaps() {
      return gaps;
    },
    close: () => void socket.close(),
  };
}
