/** Auth configs and connected accounts: who may act for whom, as Composio keeps it. */
import { randomBytes } from "node:crypto";
import { listOf, Refusal } from "./wire.ts";

export type AccountStatus = "INITIALIZING" | "INITIATED" | "ACTIVE" | "FAILED" | "EXPIRED" | "INACTIVE" | "REVOKED";

export interface AuthConfig {
  id: string;
  toolkit: string;
  scheme: string;
  isManaged: boolean;
  status: "ENABLED" | "DISABLED";
}

export interface FakeAccount {
  id: string;
  userId: string;
  authConfigId: string;
  toolkit: string;
  status: AccountStatus;
  statusReason: string | null;
  alias: string | null;
  isDisabled: boolean;
  callbackUrl: string | null;
  /** What opens the consent page. */
  linkToken: string;
  linkExpiresAt: string;
  createdAt: string;
  updatedAt: string;
}

const LINK_MS = 10 * 60_000;

function nanoId(prefix: string): string {
  return `${prefix}_${randomBytes(9).toString("base64url")}`;
}

export interface Accounts {
  configs: Map<string, AuthConfig>;
  accounts: Map<string, FakeAccount>;
  addConfig(toolkit: string, scheme: string, isManaged: boolean): AuthConfig;
  link(input: { config: AuthConfig; userId: string; callbackUrl: string | null; alias: string | null }): FakeAccount;
  /** @throws Refusal */
  config(id: string): AuthConfig;
  /** @throws Refusal */
  account(id: string): FakeAccount;
  list(query: URLSearchParams): FakeAccount[];
  set(account: FakeAccount, status: AccountStatus, reason?: string | null): void;
}

export function createAccounts(): Accounts {
  const configs = new Map<string, AuthConfig>();
  const accounts = new Map<string, FakeAccount>();
  return {
    configs,
    accounts,
    addConfig(toolkit, scheme, isManaged) {
      const config: AuthConfig = { id: nanoId("ac"), toolkit, scheme, isManaged, status: "ENABLED" };
      configs.set(config.id, config);
      return config;
    },
    link({ config, userId, callbackUrl, alias }) {
      const at = new Date();
      const account: FakeAccount = {
        id: nanoId("ca"),
        userId,
        authConfigId: config.id,
        toolkit: config.toolkit,
        status: "INITIATED",
        statusReason: null,
        alias,
        isDisabled: false,
        callbackUrl,
        linkToken: nanoId("lk"),
        linkExpiresAt: new Date(at.getTime() + LINK_MS).toISOString(),
        createdAt: at.toISOString(),
        updatedAt: at.toISOString(),
      };
      accounts.set(account.id, account);
      return account;
    },
    config(id) {
      const config = configs.get(id);
      if (config) return config;
      throw new Refusal(404, "Auth_Config_NotFound", "Auth config not found", 607);
    },
    account(id) {
      const account = accounts.get(id);
      if (account) return account;
      throw new Refusal(404, "ConnectedAccount_ResourceNotFound", "Connected account not found", 4302);
    },
    list(query) {
      const users = listOf(query, "user_ids");
      const statuses = listOf(query, "statuses");
      const authConfigs = listOf(query, "auth_config_ids");
      const toolkits = listOf(query, "toolkit_slugs");
      const ids = listOf(query, "connected_account_ids");
      return [...accounts.values()].filter(
        (account) =>
          (users?.includes(account.userId) ?? true) &&
          (statuses?.includes(account.status) ?? true) &&
          (authConfigs?.includes(account.authConfigId) ?? true) &&
          (toolkits?.includes(account.toolkit) ?? true) &&
          (ids?.includes(account.id) ?? true),
      );
    },
    set(account, status, reason = null) {
      account.status = status;
      account.statusReason = reason;
      account.updatedAt = new Date().toISOString();
    },
  };
}

/** As `GET /auth_configs` lists it. */
export function authConfigItem(config: AuthConfig, connections: number): Record<string, unknown> {
  return {
    id: config.id,
    uuid: `uuid-of-${config.id}`,
    name: `${config.toolkit}-${config.id}`,
    type: config.isManaged ? "default" : "custom",
    toolkit: { slug: config.toolkit, logo: "" },
    auth_scheme: config.scheme,
    is_composio_managed: config.isManaged,
    no_of_connections: connections,
    status: config.status,
    tool_access_config: {},
    created_at: "2025-01-01T00:00:00.000Z",
    last_updated_at: "2025-01-01T00:00:00.000Z",
  };
}

/** As `GET /connected_accounts` lists it, and as webhooks carry it. */
export function accountItem(account: FakeAccount, config: AuthConfig | undefined): Record<string, unknown> {
  return {
    id: account.id,
    alias: account.alias,
    word_id: null,
    user_id: account.userId,
    toolkit: { slug: account.toolkit },
    auth_config: {
      id: account.authConfigId,
      auth_scheme: config?.scheme ?? "OAUTH2",
      is_composio_managed: config?.isManaged ?? true,
      is_disabled: config?.status === "DISABLED",
    },
    status: account.status,
    status_reason: account.statusReason,
    state: { authScheme: "OAUTH2", val: { status: account.status, access_token: "REDACTED", scope: "mail" } },
    data: {},
    params: {},
    is_disabled: account.isDisabled,
    created_at: account.createdAt,
    updated_at: account.updatedAt,
  };
}
