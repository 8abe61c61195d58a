/**
 * The panel's model: the site, the conversation client, and what the view shows. However many events arrive, the view
 * is painted once per frame.
 */
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { SiteProfile } from "@agent-engine/protocol/resources.ts";
import type { MessageState } from "@agent-engine/protocol/state.ts";
import { retrying } from "@agent-engine/sdk/backoff.ts";
import {
  createConversationClient,
  type ClientState,
  type ConversationClient,
} from "@agent-engine/sdk/conversation-client.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import { createVisitorSession } from "@agent-engine/sdk/visitor-session.ts";
import { io } from "@agent-engine/sdk/websocket-io.ts";
import type { Credentials, HttpOptions } from "@agent-engine/sdk/http.ts";
import type { Weave } from "../cards/open-cards.tsx";
import type { PageTools } from "../page-tools/page-tools.ts";
import type { Identity, WidgetHost } from "../widget-api.ts";
import { createNewsReader } from "./news.ts";
import { siteStorage } from "./storage.ts";
import { applySiteTheme } from "./theme.ts";

const START_ATTEMPTS = 3;

export interface View {
  state: ClientState;
  site: SiteProfile | null;
  /** Why the chat cannot begin. */
  error: AgentEngineError | null;
  isOnline: boolean;
  /** There has been a live connection on this page. */
  wasLive: boolean;
  /** What a screen reader is told, politely: the last answer, when it is whole. */
  announcement: string;
  /** Puts the cards where they belong, once there are any. */
  weave: Weave;
}

export interface Session {
  /** To ask the API as this visitor. */
  api: HttpOptions & { credentials: Credentials };
  client: ConversationClient;
  /** What runs asked, and what was decided, as far as the log has arrived; may repeat. */
  asked: readonly Envelope[];
  storageIsKept: boolean;
  getView(): View;
  /** Paints anew, with what changed. */
  update(patch?: Partial<View>): void;
  start(): Promise<void>;
  /** Signs the visitor out. */
  reset(): void;
  /** Tells the server of the page's tools, where it has any or had. */
  offerTools(): void;
  close(): void;
}

export interface SessionListener {
  /** Once per frame at most. */
  paint(view: View): void;
  /** A message became whole while this page was looking. */
  onMessage(message: MessageState): void;
}

export function openSession(host: WidgetHost, { paint, onMessage }: SessionListener): Session {
  const publishableKey = host.siteKey ?? "";
  const storage = siteStorage(publishableKey);
  /** There once the page has a tool. */
  let pageTools: Promise<PageTools | undefined> | undefined;
  const http: HttpOptions = {
    baseUrl: host.apiUrl.replace(/\/$/, ""),
    async fetch(url, init) {
      await (await pageTools)?.beforeSending(url);
      return fetch(url, init);
    },
  };
  const credentials = createVisitorSession({ ...http, publishableKey, storage });
  const api = { ...http, credentials };
  const asked: Envelope[] = [];
  const client = createConversationClient({
    ...api,
    storage,
    loadSocket: async () => io,
    onEvents: (envelopes) => asked.push(...envelopes.filter(isAboutAsking)),
  });
  const readNews = createNewsReader();

  let view: View = {
    state: client.getState(),
    site: null,
    error: null,
    isOnline: navigator.onLine,
    wasLive: false,
    announcement: "",
    weave: (items) => items,
  };
  let isReachable = false;
  let isScheduled = false;
  let isClosed = false;
  let loadsCards = false;

  function update(patch: Partial<View> = {}): void {
    view = { ...view, ...patch };
    if (isScheduled) return;
    isScheduled = true;
    // A hidden page has no frames, but still an unread mark to set.
    if (document.hidden) setTimeout(frame, 100);
    else requestAnimationFrame(frame);
  }

  function frame(): void {
    isScheduled = false;
    if (isClosed) return;
    const state = client.getState();
    view = { ...view, state, wasLive: view.wasLive || state.connection.status === "live" };
    const { messages, runs } = readNews(state);
    for (const message of messages) {
      if (message.role === "assistant") view.announcement = plainText(message.text);
      onMessage(message);
    }
    for (const run of runs) host.announce("run", run);
    // Hardly any conversation asks its visitor for anything: the code for it comes with the first that does.
    if (!loadsCards && asked[0]) {
      loadsCards = true;
      import("../cards/open-cards.tsx").then(
        ({ openCards }) => update({ weave: openCards(session) }),
        () => (loadsCards = false),
      );
    }
    paint(view);
    const { connection } = state;
    const wasReachable = isReachable;
    isReachable = connection.status === "live" || (connection.status === "degraded" && connection.via !== null);
    if (isReachable && !wasReachable) sendLeftOver();
  }

  /** What could not be sent for want of a connection, or of a server behind it. */
  function sendLeftOver(): void {
    for (const { clientMessageId, error } of client.getState().outbox) {
      if (error?.code === "network" || error?.code === "unavailable") client.retry(clientMessageId);
    }
  }

  function wake(): void {
    update({ isOnline: navigator.onLine });
    if (document.hidden || !navigator.onLine) return;
    client.wake();
    sendLeftOver();
  }

  function complain(failure: unknown): AgentEngineError {
    const error = failure as AgentEngineError;
    const { code, message: detail } = error;
    console.error("[agent-widget]", code, detail);
    host.announce("error", { code, detail });
    return error;
  }

  /** As whoever the page says they are; where that fails, as whoever they were. */
  async function enter(): Promise<SiteProfile> {
    try {
      if (host.identity) return await credentials.open(identified(host.identity));
    } catch (failure) {
      complain(failure);
    }
    return credentials.open();
  }

  const unsubscribe = client.subscribe(update);
  const listening = new AbortController();
  for (const event of ["online", "offline", "pageshow"]) addEventListener(event, wake, listening);
  document.addEventListener("visibilitychange", wake, listening);
  // Tabs of one visitor show one conversation: what another tab began or left, this one does too.
  addEventListener("storage", ({ key }) => key?.endsWith(":conversation") && client.rejoin(), listening);

  const session: Session = {
    api,
    client,
    asked,
    storageIsKept: storage.isKept,
    getView: () => view,
    update,
    async start() {
      update({ error: null });
      const entering = retrying(START_ATTEMPTS, Math.random, enter);
      const history = client.start().catch(() => {});
      try {
        const site = await entering;
        applySiteTheme(host, site.theme);
        update({ site });
      } catch (failure) {
        client.close();
        update({ error: complain(failure) });
      }
      await history;
    },
    reset() {
      host.identity = "";
      client.reset();
      credentials.open({ reset: true }).catch(complain);
    },
    offerTools() {
      if (host.tools.size > 0) {
        pageTools ??= import("../page-tools/page-tools.ts").then(
          ({ openPageTools }) => openPageTools(host, session),
          () => (pageTools = undefined),
        );
      }
      void pageTools?.then((tools) => tools?.offer());
    },
    close() {
      isClosed = true;
      client.close();
      unsubscribe();
      listening.abort();
    },
  };
  return session;
}

const identified = async (identity: Identity) => ({
  identityToken: typeof identity === "string" ? identity : await identity(),
});

/** The fold forgets what was decided. */
const isAboutAsking = ({ event }: Envelope) =>
  event.type === "RUN_FINISHED"
    ? event.outcome.type === "interrupt"
    : event.type === "CUSTOM" && event.name === "run.resumed";

/** Markdown without its signs, to be read aloud. */
function plainText(text: string): string {
  return text
    .replace(/\[(\d[\d, ]*)\]/g, "")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/[*_`#>|~]/g, "");
}
