/**
 * Composio's API (v3.1) over real HTTP, as `@composio/core` speaks to it: toolkits, tools in versions, executions with a
 * ledger of what they did, auth configs, connected accounts with a consent page, files and signed webhooks.
 *
 * For other processes: `GET /ledger`, `POST /faults` (`{route, faults}`) and `POST /accounts/{id}/{status}`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { closeServer, listen } from "./listening.ts";
import { accountItem, createAccounts, type AccountStatus, type Accounts } from "./composio/accounts.ts";
import { makeCatalogue, type FakeToolkit } from "./composio/catalogue.ts";
import type { ComposioCall } from "./composio/execute.ts";
import { breakAfter, breakBefore, pauseFor, type ComposioFault, type RouteName } from "./composio/faults.ts";
import type { Held, RouteCall } from "./composio/route.ts";
import { findRoute } from "./composio/routes.ts";
import { makeWebhook, newSecret, sendWebhook, type SentWebhook, type Subscription } from "./composio/webhooks.ts";
import { errorBody, readBytes, Refusal, sendJson } from "./composio/wire.ts";

export interface ComposioServerOptions {
  port?: number;
  apiKey?: string;
  /** Toolkits in all. */
  toolkits?: number;
  /** What a tool answers in `data`; undefined: what it usually does. */
  answer?: (call: ComposioCall) => unknown;
}

/** Every request that arrived, by the name of its route. */
export interface ComposioRequest {
  route: RouteName;
  method: string;
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: unknown;
}

export interface ComposioServer {
  url: string;
  port: number;
  apiKey: string;
  /** Every execution, oldest first. */
  ledger: ComposioCall[];
  requests: ComposioRequest[];
  accounts: Accounts;
  toolkits: Map<string, FakeToolkit>;
  subscriptions: Map<string, Subscription>;
  /** Uploaded and downloadable files, by key. */
  files: Map<string, { type: string; bytes: Buffer }>;
  /** Ids of accounts whose tokens were revoked at the provider. */
  revoked: string[];
  /** How often a tool did something. */
  effectsOf(slug: string): number;
  /** The next calls of a route get these faults, in order; null lets a call through. */
  enqueueFaults(route: RouteName, ...faults: (ComposioFault | null)[]): void;
  /** An account that is connected, without a consent page. */
  connect(input: { toolkit: string; userId: string; status?: AccountStatus; alias?: string }): string;
  /** The event that an account expired, as every subscription for it gets it. It is not sent. */
  expiryOf(accountId: string, subscription: Pick<Subscription, "webhook_url" | "secret">, atMs?: number): SentWebhook;
  /** Marks an account as expired and tells all who subscribed; the statuses they answered. */
  expire(accountId: string): Promise<number[]>;
  stop(): Promise<void>;
}

export async function startComposioServer(options: ComposioServerOptions = {}): Promise<ComposioServer> {
  const apiKey = options.apiKey ?? `ak_${newSecret()}`;
  const faults = new Map<RouteName, (ComposioFault | null)[]>();
  const sockets = new Set<Socket>();
  const requests: ComposioRequest[] = [];
  const held: Held = {
    address: () => server.url,
    toolkits: new Map(makeCatalogue(options.toolkits).map((toolkit) => [toolkit.slug, toolkit])),
    accounts: createAccounts(),
    subscriptions: new Map(),
    files: new Map(),
    ledger: [],
    revoked: [],
    answer: options.answer,
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://composio");
    const method = request.method ?? "GET";
    const found = findRoute(method, url.pathname);
    const bytes = await readBytes(request);
    if (control(method, url.pathname, bytes, response)) return;
    if (!found) return sendJson(response, 404, errorBody(404, `No route ${method} ${url.pathname}`, "NotFound", 404));
    const { route, params } = found;
    if (!route.isOpen && request.headers["x-api-key"] !== apiKey) {
      return sendJson(response, 401, errorBody(401, "Invalid API key", "Auth_InvalidApiKey", 10401));
    }
    const body = route.isOpen ? null : parse(bytes);
    requests.push({ route: route.name, method, path: `${url.pathname}${url.search}`, headers: request.headers, body });
    const fault = faults.get(route.name)?.shift() ?? null;
    const call: RouteCall = { params, query: url.searchParams, body, bytes, request, response, fault };
    try {
      route.before?.(call, held);
      if (breakBefore(response, fault)) return;
      await pauseFor(fault);
      const answer = route.act(call, held);
      if (answer === null || breakAfter(response, fault)) return;
      sendJson(response, answer.status, answer.body);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      sendJson(response, error.status, errorBody(error.status, error.message, error.slug, error.code));
    }
  }

  function control(method: string, path: string, bytes: Buffer, response: ServerResponse): boolean {
    const [, first, id, status] = path.split("/");
    if (path === "/ledger") sendJson(response, 200, held.ledger);
    else if (path === "/faults" && method === "POST") {
      const queued = JSON.parse(bytes.toString()) as { route: RouteName; faults: (ComposioFault | null)[] };
      server.enqueueFaults(queued.route, ...queued.faults);
      sendJson(response, 202, {});
    } else if (first === "accounts" && method === "POST" && id !== undefined) {
      held.accounts.set(held.accounts.account(id), status as AccountStatus);
      sendJson(response, 200, {});
    } else return false;
    return true;
  }

  const http = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) sendJson(response, 500, errorBody(500, String(error), "Internal", 500));
    });
  });
  http.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const port = await listen(http, options.port ?? 0);

  const server: ComposioServer = {
    url: `http://127.0.0.1:${port}`,
    port,
    apiKey,
    requests,
    ...held,
    effectsOf: (slug) => held.ledger.filter((call) => call.slug === slug && call.outcome === "applied").length,
    enqueueFaults(route, ...next) {
      faults.set(route, [...(faults.get(route) ?? []), ...next]);
    },
    connect({ toolkit, userId, status = "ACTIVE", alias }) {
      const { configs, addConfig, link, set } = held.accounts;
      const config =
        [...configs.values()].find((known) => known.toolkit === toolkit) ?? addConfig(toolkit, "OAUTH2", true);
      const account = link({ config, userId, callbackUrl: null, alias: alias ?? null });
      set(account, status);
      return account.id;
    },
    expiryOf(accountId, subscription, atMs = Date.now()) {
      const account = held.accounts.account(accountId);
      const data = accountItem(account, held.accounts.configs.get(account.authConfigId));
      return makeWebhook(subscription, "composio.connected_account.expired", data, atMs);
    },
    async expire(accountId) {
      held.accounts.set(held.accounts.account(accountId), "EXPIRED", "The refresh token was refused");
      const told = [...held.subscriptions.values()].filter(({ enabled_events }) =>
        enabled_events.includes("composio.connected_account.expired"),
      );
      return Promise.all(told.map((subscription) => sendWebhook(server.expiryOf(accountId, subscription))));
    },
    stop: async () => {
      const closed = closeServer(http);
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return server;
}

function parse(bytes: Buffer): unknown {
  if (bytes.length === 0) return null;
  try {
    return JSON.parse(bytes.toString()) as unknown;
  } catch {
    return null;
  }
}
