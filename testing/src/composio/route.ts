/** What a route of the fake Composio is, and what it works on. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Accounts } from "./accounts.ts";
import type { FakeToolkit } from "./catalogue.ts";
import type { ComposioCall } from "./execute.ts";
import type { ComposioFault, RouteName } from "./faults.ts";
import type { Subscription } from "./webhooks.ts";

/** What the server keeps. */
export interface Held {
  /** Where it answers. */
  address: () => string;
  toolkits: Map<string, FakeToolkit>;
  accounts: Accounts;
  subscriptions: Map<string, Subscription>;
  files: Map<string, { type: string; bytes: Buffer }>;
  ledger: ComposioCall[];
  revoked: string[];
  answer: ((call: ComposioCall) => unknown) | undefined;
}

export interface RouteCall {
  params: readonly string[];
  query: URLSearchParams;
  body: unknown;
  bytes: Buffer;
  request: IncomingMessage;
  response: ServerResponse;
  fault: ComposioFault | null;
}

export interface Route {
  name: RouteName;
  method: string;
  /** `*` stands for one part, which is given as a parameter. */
  path: string;
  /** For browsers and storage: no key is asked for. */
  isOpen?: boolean;
  /** What happens even when a fault keeps the call from its effect. */
  before?: (call: RouteCall, held: Held) => void;
  act: (call: RouteCall, held: Held) => { status: number; body: unknown } | null;
}
