import type {
  Id,
  TenantId,
  VisitorId,
  SiteId,
  AgentId,
  ApiKeyId,
  MemberId,
  UserId,
} from "@agent-engine/protocol/ids.ts";
import type { Role } from "@agent-engine/protocol/administration.ts";
import type { Logger } from "pino";
import type { Config } from "./config/env.ts";
import type { Database } from "./db/database.ts";
import type { Tx } from "./db/transaction.ts";
import type { EventBus } from "./events/bus.ts";
import type { Accounts } from "./members/accounts.ts";
import type { RunQueue } from "./queue/run-queue.ts";

/**
 * Who asks. A visitor reads and writes only their own conversations; a secret key does what its scopes allow, a member
 * what their role does (`members/permissions.ts`).
 */
export type Actor =
  | { kind: "visitor"; visitorId: VisitorId; siteId: SiteId; agentId: AgentId }
  | { kind: "secret_key"; apiKeyId: ApiKeyId; scopes: readonly string[] }
  | { kind: "member"; memberId: MemberId; userId: UserId; role: Role }
  | { kind: "worker" };

/** What every verb may use. Built once per process by `openServices`; tests build it by hand. */
export interface Services {
  db: Database;
  bus: EventBus;
  queue: RunQueue;
  log: Logger;
  secrets: Secrets;
  accounts: Accounts;
  models: Config["models"];
  /** Milliseconds since the epoch. */
  clock: () => number;
  newId: <Prefix extends string>(prefix: Prefix) => Id<Prefix>;
}

/** Master keys: the first signs and seals, all of them verify and open. */
export interface Secrets {
  keys: readonly string[];
}

/** The context of one request or one run: a verb is `verb(ctx, input)`. */
export interface Ctx {
  services: Services;
  tenantId: TenantId;
  actor: Actor;
  correlationId: string;
  /** Where the request came from, as far as the server knows. */
  ip?: string;
  /** Set inside a transaction; `transact` joins it. */
  tx?: Tx;
}
