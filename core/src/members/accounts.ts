import pg from "pg";
import type { Logger } from "pino";
import type { Config } from "../config/env.ts";
import { createMailer, type Mailer } from "../mail/mailer.ts";

/** People's accounts, which belong to no tenant: their database, the mails they get, and how they sign in. */
export interface Accounts {
  /** Sees the accounts and nothing else; opened at its first use. */
  pool(): pg.Pool;
  mailer: Mailer;
  /** Where links in mails lead. Without a trailing slash. */
  consoleUrl: string;
  /** Cookies travel over https only. */
  isSecure: boolean;
  signUp: Config["signUp"];
  close(): Promise<void>;
}

export type AccountsConfig = Pick<Config, "nodeEnv" | "publicUrl" | "consoleUrl" | "consolePort" | "signUp" | "mail">;

const POOL_SIZE = 4;
const QUERY_TIMEOUT_MS = 10_000;

/** `url` is that of the role that sees the accounts, as `migrate` answers it. */
export function openAccounts(config: Partial<AccountsConfig>, url: string, log: Logger): Accounts {
  const { nodeEnv = "development", publicUrl = null, consolePort = 3001, mail = null, signUp = "invited" } = config;
  const isProduction = nodeEnv === "production";
  const mailer = createMailer({ mail, nodeEnv, log });
  let pool: pg.Pool | null = null;
  return {
    pool() {
      if (!pool) {
        pool = new pg.Pool({
          connectionString: url,
          max: POOL_SIZE,
          idleTimeoutMillis: 30_000,
          connectionTimeoutMillis: 5_000,
          query_timeout: QUERY_TIMEOUT_MS,
          keepAlive: true,
          application_name: "agent-engine accounts",
          options: "-c search_path=auth -c statement_timeout=8s -c idle_in_transaction_session_timeout=10s",
        });
        pool.on("error", (error) => log.warn({ err: error }, "postgres connection of the accounts lost"));
        pool.on("connect", (client) =>
          client.on("error", (error) => log.debug({ err: error }, "postgres client error")),
        );
      }
      return pool;
    },
    mailer,
    consoleUrl:
      config.consoleUrl ?? (isProduction && publicUrl !== null ? publicUrl : `http://localhost:${consolePort}`),
    isSecure: isProduction || publicUrl?.startsWith("https://") === true,
    signUp,
    async close() {
      await mailer.close();
      await pool?.end();
    },
  };
}
