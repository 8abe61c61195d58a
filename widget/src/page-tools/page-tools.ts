/**
 * The page's tools: loaded with the first that is registered. Tells the server what this page offers for as long as the
 * chat is open or being answered, and executes what the model asks of it: the calls that name this page, each once.
 */
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { currentRun } from "@agent-engine/sdk/current-run.ts";
import { createInterruptCalls, type ClientTool } from "@agent-engine/sdk/interrupts.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import { randomId } from "@agent-engine/sdk/random-id.ts";
import type { Session } from "../panel/session.ts";
import type { WidgetHost } from "../widget-api.ts";
import { failure, runTool } from "./run-tool.ts";

/** The server keeps an offer for a minute. */
const RENEW_MS = 25_000;
/** A message does not wait longer for the offer that goes before it. */
const PATIENCE_MS = 3_000;
/** UTF-16 units: of longer bodies browsers send none after the page's end. */
const LAST_WORDS_LENGTH = 15_000;
/** What was begun may have been done, also by a handler that left the page on purpose. */
const LEFT = "The visitor left the page before it answered. What was asked may have been done.";

export interface PageTools {
  /** Says what there is to offer now. */
  offer(): void;
  /** A message begins a run, which is offered what the server knows by then. */
  beforeSending(url: string): Promise<void>;
}

export function openPageTools(host: WidgetHost, { api, client }: Session): PageTools {
  const calls = createInterruptCalls(api);
  // After the page's end only such a request still leaves.
  const lastWords = createInterruptCalls({ ...api, fetch: (url, init) => fetch(url, { ...init, keepalive: true }) });
  const pageId = randomId();
  const begun = new Map<string, AbortController>();
  /** Handlers that have not answered, by interrupt: the run that waits for them. */
  const answering = new Map<string, string>();
  let offered: { conversationId: string; text: string } | null = null;
  let offering: Promise<unknown> = Promise.resolve();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;
  /** What the developer has been told. */
  const told = new Set<string>();

  const byName = () => new Map([...host.tools].map(([name, schema, handler]) => [name, { schema, handler }]));

  function toolsNow(): ClientTool[] {
    const isOpen =
      !isClosed && (host.isOpen || host.hasAttribute("mode") || currentRun(client.getState().conversation));
    if (!isOpen) return [];
    const tools: ClientTool[] = [];
    for (const [name, { schema }] of byName()) {
      const { description, parameters, resultSchema } = schema;
      // The API refuses what it does not know, and with what is no tool at all the whole offer.
      const isTool =
        typeof description === "string" && isSchema(parameters) && (!resultSchema || isSchema(resultSchema));
      if (isTool) tools.push({ name, description, parameters, ...(resultSchema && { resultSchema }) });
      else warn([{ tool: name, problem: "it needs a description, and parameters that are a JSON Schema" }]);
    }
    return tools;
  }

  /** In order, so that the last word is the last; one that was lost is said again in a while. */
  function announce(id: string, tools: ClientTool[], via = calls): Promise<unknown> {
    const say = async () => warn((await via.setClientTools(id, pageId, tools)).problems);
    offering = offering.then(say, say);
    offering.catch((error: AgentEngineError) => console.error("[agent-widget]", error.code, error.message));
    return offering;
  }

  /** Once of each problem, however often the tools are offered. */
  function warn(problems: readonly { tool: string; problem: string }[]): void {
    for (const { tool, problem } of problems) {
      const words = `registerTool: “${tool}” is not offered: ${problem}`;
      if (!told.has(words)) console.warn("[agent-widget]", words);
      told.add(words);
    }
  }

  /** Offers what changed, and again in a while; `mustSay`: also what did not change. */
  function offer(id = client.getState().conversationId, mustSay = true): Promise<unknown> {
    // A visitor who signed out may not even speak of it: what stood there ends by itself.
    if (offered && id && offered.conversationId !== id) void announce(offered.conversationId, []);
    if (offered?.conversationId !== id) offered = null;
    const tools = toolsNow();
    if (id === null || (tools.length === 0 && !offered)) return offering;
    const text = JSON.stringify(tools);
    if (!mustSay && offered?.text === text) return offering;
    clearTimeout(timer);
    if (tools.length > 0) timer = setTimeout(offer, RENEW_MS);
    offered = tools.length > 0 ? { conversationId: id, text } : null;
    return announce(id, tools);
  }

  /** Executes what is asked of this page: when the log asks for the first time, and the server says that it still does. */
  function follow(): void {
    if (!host.isConnected) return close();
    const { conversation, conversationId } = client.getState();
    if (offered?.conversationId !== conversationId || (offered !== null && !currentRun(conversation))) {
      void offer(conversationId, false);
    }
    const open = new Set<string>();
    for (const run of Object.values(conversation.runs)) {
      for (const interrupt of run.status === "waiting" ? run.interrupts : []) {
        open.add(interrupt.id);
        const { kind, pageId: addressed } = interrupt.metadata ?? {};
        if (kind !== "client_tool" || addressed !== pageId || begun.has(interrupt.id)) continue;
        const ending = new AbortController();
        begun.set(interrupt.id, ending);
        void execute(run.id, interrupt, ending.signal).catch((error: AgentEngineError) => {
          // Decided without us: expired, or the run was stopped.
          if (error.code !== "interrupt_resolved") console.error("[agent-widget]", error.code, error.message);
        });
      }
    }
    for (const [id, ending] of begun) if (!open.has(id)) ending.abort();
  }

  async function execute(runId: string, { id, metadata }: Interrupt, signal: AbortSignal): Promise<void> {
    const stillOpen = await calls.openInterrupts(runId);
    if (isClosed || !stillOpen.some((interrupt) => interrupt.id === id)) return;
    const { tool, arguments: given } = metadata as { tool: string; arguments?: Record<string, unknown> };
    answering.set(id, runId);
    const reply = await runTool(byName().get(tool)?.handler, given ?? {}, signal);
    // Nobody waits any more, or the page said so itself when it was left.
    if (!answering.delete(id) || signal.aborted) return;
    // A handler may have left the page with its answer.
    const via = JSON.stringify(reply.payload).length < LAST_WORDS_LENGTH ? lastWords : calls;
    try {
      await via.resume(runId, id, reply.decision, reply.payload);
    } catch (error) {
      const { code, message } = error as AgentEngineError;
      if (reply.decision === "error" || (code !== "invalid_request" && code !== "too_large")) throw error;
      // It does not fit what the page itself said of it.
      const { decision, payload } = failure(message);
      await calls.resume(runId, id, decision, payload);
    }
  }

  function leave(): void {
    clearTimeout(timer);
    const { decision, payload } = failure(LEFT);
    for (const [id, runId] of answering) void lastWords.resume(runId, id, decision, payload).catch(() => {});
    answering.clear();
    if (!offered) return;
    void announce(offered.conversationId, [], lastWords);
    offered = null;
  }

  /** The widget was removed. */
  function close(): void {
    isClosed = true;
    for (const ending of begun.values()) ending.abort();
    unsubscribe();
    listening.abort();
    host.off("close", again);
    leave();
  }

  const again = () => void offer();
  const unsubscribe = client.subscribe(follow);
  const listening = new AbortController();
  host.on("close", again);
  addEventListener("pagehide", leave, listening);
  // Back from the browser's memory, or from a sleep in which nothing was renewed.
  addEventListener("pageshow", again, listening);
  document.addEventListener("visibilitychange", () => document.hidden || again(), listening);

  return {
    offer: again,
    async beforeSending(url) {
      const [, id] = /\/v1\/conversations\/(\w+)\/messages$/.exec(url) ?? [];
      if (!id) return;
      const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
      await Promise.race([offer(id, false).catch(() => {}), patience]);
    },
  };
}

/** An object that JSON can say. */
function isSchema(value: unknown): boolean {
  try {
    return JSON.stringify(value).startsWith("{");
  } catch {
    return false;
  }
}
