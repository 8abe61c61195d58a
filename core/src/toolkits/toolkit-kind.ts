/**
 * What each kind of toolkit that a tenant can install must know: its settings, what the other side offers, how it is
 * called, and how somebody's account there is connected. Servers discover and connect; workers call.
 */
import type { Logger } from "pino";
import type { Egress } from "../net/egress.ts";
import type { ToolDescription, Toolkit } from "./toolkit.ts";

export type ToolkitKindName = "http" | "openapi" | "mcp" | "composio";

/** A tool as it was found when the toolkit was installed or refreshed. */
export interface DiscoveredTool extends ToolDescription {
  /** The other side's name for it. */
  remote: string;
  /** What its kind needs to call it as it was found, for instance its version. Ids and places, never a secret. */
  details?: Record<string, unknown>;
}

export interface Discovered {
  tools: DiscoveredTool[];
  /** What was left out or repaired, and why, for the tenant's admins. */
  problems: string[];
}

/** The platform's account at Composio. */
export interface ComposioAccess {
  apiKey: string;
  baseUrl: string;
}

export interface KindDeps {
  egress: Egress;
  /** Null: there is no Composio on this installation. */
  composio: ComposioAccess | null;
  /** Milliseconds since the epoch. */
  now: () => number;
  log: Pick<Logger, "warn" | "error" | "info">;
  /** Told during a call that the other side's tools are no longer those that were found: it should be asked again. */
  onToolsChanged?: (how: ToolsChanged) => void;
}

/** `announced` by the other side; `gone`: a tool that is called is not there any more. */
export type ToolsChanged = "announced" | "gone";

export type ParsedSettings<Settings> =
  | { settings: Settings; problems: null }
  /** One line for each problem, with its place. */
  | { settings: null; problems: string[] };

export interface ToolkitKind<Settings = unknown> {
  readonly kind: ToolkitKindName;
  parse(value: unknown): ParsedSettings<Settings>;
  /**
   * Replaces each secret in the settings, as they are stored or sent. A `field` names the setting and the origin it is
   * sent to: a credential that was given for one address opens for no other.
   */
  mapSecrets(
    settings: Record<string, unknown>,
    replace: (value: unknown, field: string) => unknown,
  ): Record<string, unknown>;
  /**
   * Asks the other side what there is. `name` is the toolkit's namespace; `account` one of the tenant's, where there is
   * one: some show their tools to nobody else.
   * @throws ProblemError `invalid_request` or `unavailable`, saying what to do
   */
  discover(
    name: string,
    settings: Settings,
    deps: KindDeps,
    signal: AbortSignal,
    account?: ConnectedAccount | null,
  ): Promise<Discovered>;
  /** Ready to call, without asking anybody: the tools are those of the revision that the agent's version pinned. */
  open(name: string, settings: Settings, tools: readonly DiscoveredTool[], deps: KindDeps): Toolkit;
  connector?: Connector<Settings>;
}

/** What is kept of an account at the other side: ids, never a secret. Shown to nobody. */
export type Account = Record<string, unknown>;

/** Whose account it is, for the other side: `tenant:<id>`, or `tenant:<id>:visitor:<id>`. Never from a model or a browser. */
export type OwnerKey = string;

export interface ConnectedAccount {
  ownerKey: OwnerKey;
  account: Account;
  /** Its tokens, opened; null when there are none. */
  secret: string | null;
}

export type AccountStatus = "active" | "expired" | "failed" | "revoked";

/** How a person's or the tenant's account is connected. Each step may ask the other side; none retries. */
export interface Connector<Settings = unknown> {
  /** Begins: where the person must go. What is kept in `secret` between the two steps is stored sealed. */
  link(
    settings: Settings,
    deps: KindDeps,
    input: { ownerKey: OwnerKey; callbackUrl: string; state: string; label: string | null },
    signal: AbortSignal,
  ): Promise<{ url: string; expiresAt: string | null; account: Account; secret?: string }>;
  /** After the callback: what became of it, and whether it is this owner's; what the query says is not to be trusted. */
  complete(
    settings: Settings,
    deps: KindDeps,
    input: ConnectedAccount & { query: Readonly<Record<string, string>>; callbackUrl: string; state: string },
    signal: AbortSignal,
  ): Promise<{
    status: AccountStatus;
    account: Account;
    secret?: string;
    scopes: string[];
    expiresAt: string | null;
    /** The account's name at the other side. */
    label: string | null;
  }>;
  /** Whether it is still good. `secret`: renewed tokens to keep in place of the old ones. */
  check(
    settings: Settings,
    deps: KindDeps,
    input: ConnectedAccount,
    signal: AbortSignal,
  ): Promise<{ status: AccountStatus; secret?: string; expiresAt?: string | null }>;
  /** Ends it at the other side too. */
  revoke(settings: Settings, deps: KindDeps, input: ConnectedAccount, signal: AbortSignal): Promise<void>;
}
