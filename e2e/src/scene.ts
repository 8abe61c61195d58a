/** Visitors of one test on a cluster: they write, read in several ways and stop; what they were promised is kept for the check. */
import type { Conversation, Run, Submission } from "@agent-engine/protocol/resources.ts";
import { deliver } from "@agent-engine/protocol/deliver.ts";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { REALTIME_PATH, type RealtimeRefusal } from "@agent-engine/protocol/realtime.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { lastUserTurn, type RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import { violations, type Acknowledged, type Violation } from "@agent-engine/testing/invariants.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { readSse } from "@agent-engine/testing/sse-client.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { io, type Socket } from "socket.io-client";
import { apiAt, createConversation, getRun, openVisitor, send, type Api } from "./api-client.ts";
import type { Cluster } from "./cluster.ts";
import { openSdkReader, type SdkReader } from "./sdk-reader.ts";
import { SITE_ORIGIN } from "./shop-tenant.ts";

/** An answer of 60 tokens that takes 4 s. */
export const SLOW = say("Slowly", { gapMs: 70, steps: [{ kind: "tokens", count: 60 }] });

export interface SilentRun {
  runId: string;
  hungUp(): boolean;
}

export interface Scene {
  visitor: Api;
  /** The conversation that all readers follow. */
  conversation: Conversation;
  /** The SDK on the first server. */
  reader: SdkReader;
  /** What it holds, and what an event stream of the other server gave. */
  overSdk(): ConversationState;
  overSse(): ConversationState;
  urlOf(server: number): string;
  submit(conversationId: string, text: string, clientMessageId?: string): Promise<Submission>;
  openSocket(server: number): {
    socket: Socket;
    goodbyes: RealtimeRefusal[];
    connected: Promise<RealtimeRefusal | null>;
  };
  isLive(): Promise<void>;
  /** Waits until the answer that is being written has begun. */
  answers(): Promise<void>;
  completed(runId: string): Promise<void>;
  /** A run whose model says three words and falls silent. */
  silentRun(): Promise<SilentRun>;
  /** Stops it on the other server; its worker must hang up soon. */
  stopped(run: SilentRun): Promise<void>;
  /** A new run is heard of over the broker rather than found by a worker that looks for itself. */
  brokerRings(): Promise<void>;
  /** How often each process printed this. */
  printed(message: string): number[];
  violations(): Promise<Violation[]>;
  close(): void;
}

let messages = 0;

export async function openScene(cluster: Cluster): Promise<Scene> {
  const ends: (() => unknown)[] = [];
  const acknowledged = new Map<string, Acknowledged>();
  const urlOf = (server: number): string => cluster.servers[server]?.url ?? "";
  const visitor = await openVisitor(urlOf(0), cluster.keys.publishableKey);
  const conversation = await createConversation(visitor);
  const reader = await openSdkReader(urlOf(0), visitor.token, conversation.id);
  ends.push(() => reader.client.close());
  const overSdk = () => reader.client.getState().conversation;
  const overSse = streamed(urlOf(1), visitor.token, conversation.id, ends);

  async function submit(conversationId: string, text: string, clientMessageId = `message-${++messages}`) {
    const submission = await send(visitor, conversationId, clientMessageId, text);
    const { message, run } = submission;
    acknowledged.set(clientMessageId, { conversationId, clientMessageId, messageId: message.id, runId: run.id });
    return submission;
  }

  return {
    visitor,
    conversation,
    reader,
    overSdk,
    overSse,
    urlOf,
    submit,
    openSocket(server) {
      const socket = io(urlOf(server), {
        path: REALTIME_PATH,
        transports: ["websocket"],
        auth: { token: visitor.token },
        extraHeaders: { origin: SITE_ORIGIN },
        forceNew: true,
        reconnection: false,
      });
      ends.push(() => socket.close());
      const goodbyes: RealtimeRefusal[] = [];
      socket.on("closing", (reason: RealtimeRefusal) => void goodbyes.push(reason));
      const connected = new Promise<RealtimeRefusal | null>((resolve) => {
        socket.once("connect", () => resolve(null));
        socket.once("connect_error", (error: Error & { data?: RealtimeRefusal }) => resolve(error.data ?? null));
      });
      return { socket, goodbyes, connected };
    },
    async isLive() {
      await waitFor(() => reader.client.getState().connection.status === "live", {
        describe: () => `the SDK to have its socket: ${JSON.stringify(reader.client.getState().connection)}`,
        timeoutMs: 20_000,
      });
    },
    async answers() {
      await waitFor(() => overSdk().messages.at(-1)?.text.includes("token3 "), { describe: "part of an answer" });
    },
    async completed(runId) {
      const statuses = () => [overSdk(), overSse()].map((state) => state.runs[runId]?.status);
      await waitFor(() => statuses().every((status) => status === "completed"), {
        describe: () => `${runId} to be completed for every reader: ${statuses().join(", ")}`,
        timeoutMs: 30_000,
      });
    },
    async silentRun() {
      const { id } = await createConversation(visitor);
      const text = say(`Well ${id}`, { steps: [{ kind: "tokens", count: 3 }, { kind: "stall" }] });
      const { run } = await submit(id, text);
      const isOurs = ({ body }: RecordedRequest) => lastUserTurn(body.messages).text === text;
      const request = await waitFor(() => cluster.model.requests.find(isOurs), { describe: "the model to be asked" });
      let hasEnded = false;
      void request.ended.then(() => (hasEnded = true));
      return { runId: run.id, hungUp: () => hasEnded };
    },
    async stopped({ runId, hungUp }) {
      await apiAt(urlOf(1), visitor.token).request<Run>("POST", `/v1/runs/${runId}/cancel`);
      await waitFor(hungUp, { describe: "the worker to hang up on a silent model", timeoutMs: 3_000 });
    },
    async brokerRings() {
      await waitFor(
        async () => {
          const { id } = await createConversation(visitor);
          const { run } = await submit(id, "Hello again");
          await waitFor(async () => (await getRun(visitor, run.id)).status === "completed", { describe: "an answer" });
          const { rows } = await cluster.db.query("select worker_id from jobs where run_id = $1", [run.id.slice(4)]);
          return rows[0]?.worker_id === null;
        },
        { describe: "a doorbell over the broker", timeoutMs: 20_000, intervalMs: 100 },
      );
    },
    printed: (message) =>
      [...cluster.servers, ...cluster.workers].map(
        ({ process }) => process.logs().split(`"msg":"${message}`).length - 1,
      ),
    violations: () =>
      violations(cluster.db, {
        acknowledged: [...acknowledged.values()],
        clients: [overSdk(), overSse()].map((state) => ({ conversationId: conversation.id, reader: "all", state })),
      }),
    close() {
      for (const end of ends.splice(0)) end();
    },
  };
}

/** What a client that only knows the event stream holds. It reconnects as a browser does. */
function streamed(
  url: string,
  token: string,
  conversationId: string,
  ends: (() => unknown)[],
): () => ConversationState {
  let state = initialState;
  const abort = new AbortController();
  ends.push(() => abort.abort());
  const read = async () => {
    while (!abort.signal.aborted) {
      const headers = { authorization: `Bearer ${token}`, "last-event-id": String(state.lastSeq) };
      const { signal } = abort;
      const response = await fetch(`${url}/v1/conversations/${conversationId}/stream`, { headers, signal });
      for await (const { data } of readSse(response)) state = deliver(state, [JSON.parse(data) as Envelope]).state;
    }
  };
  read().catch(() => undefined);
  return () => state;
}
