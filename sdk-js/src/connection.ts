/**
 * Keeps a reader connected: acts on the states of `connection-state.ts`. One socket per attempt, so that nothing of a
 * broken one can speak for its successor.
 */
import {
  REALTIME_PATH,
  type EventsPush,
  type Hint,
  type RealtimeRefusal,
  type SubscribeAck,
} from "@agent-engine/protocol/realtime.ts";
import { backoffMs } from "./backoff.ts";
import { transition, type ConnectionEvent, type ConnectionState } from "./connection-state.ts";
import type { FallbackOptions } from "./fallback.ts";
import type { Credentials } from "./http.ts";
import type { RealtimeSocket, SocketFactory } from "./socket.ts";

/** How long opening a socket, and each subscription's answer, may take. */
const TIMEOUT_MS = 8_000;

export interface ConnectionOptions extends FallbackOptions {
  baseUrl: string;
  credentials: Credentials;
  random(): number;
  /** Loads the socket client when it is first needed. */
  loadSocket(): Promise<SocketFactory>;
  /** What to follow, and from where; null while there is nothing yet. */
  topic(): { conversationId: string; after: number } | null;
  /** Fetches what is missing, and says whether anything was; rejects when the server cannot be reached. */
  catchUp(): Promise<boolean>;
  onHint(hint: Hint): void;
  onState(state: ConnectionState): void;
}

export interface Connection {
  open(): void;
  /** Follow the topic, which is new. */
  follow(): void;
  /** The network is back or the page woke up: try at once. */
  wake(): void;
  close(): void;
}

export function createConnection(options: ConnectionOptions): Connection {
  let state: ConnectionState = { status: "idle" };
  let socket: RealtimeSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let fallback: AbortController | undefined;
  /** What the current socket reports; an older one's is ignored. */
  let report: (event: ConnectionEvent) => unknown;

  function dispatch(event: ConnectionEvent): void {
    const before = state;
    state = transition(before, event);
    if (state === before) return;
    options.onState(state);
    if (event.type !== "fallback") enter();
  }
  const lost = () => dispatch({ type: "lost" });

  function enter(): void {
    clearTimeout(timer);
    if (state.status !== "degraded") stopFallback();
    else if (!fallback) startFallback();
    // An attempt replaces it by its own.
    if ("failures" in state) timer = setTimeout(tryAgain, backoffMs(state.failures, options.random));
    if (state.status === "connecting") void connect();
    else if (state.status === "live") follow();
    else dropSocket();
  }

  function tryAgain(): void {
    if (state.status === "degraded") void connect();
    else dispatch({ type: "retry" });
  }

  function dropSocket(): void {
    report = () => {};
    socket?.disconnect();
  }

  async function connect(): Promise<void> {
    dropSocket();
    clearTimeout(timer);
    const mine: typeof report = (event) => mine === report && dispatch(event);
    report = mine;
    const mineLost = () => mine({ type: "lost" });
    timer = setTimeout(mineLost, TIMEOUT_MS);
    try {
      const io = await options.loadSocket();
      const token = await options.credentials.token();
      if (mine !== report) return;
      const room = options.topic()?.conversationId;
      socket = io(options.baseUrl, {
        path: REALTIME_PATH,
        auth: { token },
        query: room ? { room } : {},
        forceNew: true,
        reconnection: false,
      });
      socket.on("connect", () => mine({ type: "connected" }));
      socket.on("disconnect", mineLost);
      const refused = (reason?: RealtimeRefusal) =>
        // Whether a new token is to be had, the log's own requests will say.
        reason?.code === "unauthenticated"
          ? options.credentials.renew(token).then(mineLost, mineLost)
          : mine({ ...reason, type: "lost" });
      socket.on("connect_error", ({ data }: { data?: RealtimeRefusal }) => refused(data));
      // Said before the server closes it, so that nobody takes it for a fault.
      socket.on("closing", refused);
      socket.on("events", (push: EventsPush) => options.onEvents(push.conversationId, push.events));
      socket.on("hint", options.onHint);
    } catch {
      mineLost();
    }
  }

  function follow(): void {
    const topic = options.topic();
    if (!topic) return;
    const mine = report;
    const mineLost = () => mine({ type: "lost" });
    clearTimeout(timer);
    timer = setTimeout(mineLost, TIMEOUT_MS);
    socket?.emit("subscribe", topic, (answer: SubscribeAck) => {
      if (mine !== report) return;
      clearTimeout(timer);
      // The log knows why: a conversation that is gone, a cursor inside a compacted range, a token that ran out.
      if (!answer.ok) options.catchUp().then(mineLost, mineLost);
    });
  }

  function startFallback(): void {
    stopFallback();
    const mine = (fallback = new AbortController());
    import("./fallback.ts")
      .then(({ readWithoutSocket }) =>
        readWithoutSocket(options, mine.signal, (via) => mine === fallback && dispatch({ type: "fallback", via })),
      )
      // The chunk did not load: the next failure of the socket tries again.
      .catch(() => mine === fallback && stopFallback());
  }

  function stopFallback(): void {
    fallback?.abort();
    fallback = undefined;
  }

  return {
    open: () => dispatch({ type: "open" }),
    follow() {
      if (state.status === "live") follow();
      else if (state.status === "degraded") startFallback();
    },
    wake() {
      // A socket may look open long after it died: when the log knows more than was pushed, it is.
      if (state.status === "live") options.catchUp().then((found) => found && lost(), lost);
      else tryAgain();
    },
    close: () => dispatch({ type: "close" }),
  };
}
