/**
 * The only module that reads the environment (besides the bootstrap, which runs before anything is installed).
 * `parseConfig` is pure; `loadConfig` gives it this process's environment.
 */
import { resolve } from "node:path";
import { defaultRateLimits, type RateLimits } from "./rate-limits.ts";
import { VARIABLES, type Values, type VariableName } from "./variables.ts";

export type Environment = Record<string, string | undefined>;

export interface Config {
  nodeEnv: Values["NODE_ENV"];
  role: Values["ROLE"];
  /** 0 means any free port. */
  port: number;
  demoPort: number;
  /** Besides the demo page's own. */
  demoOrigins: string[];
  consolePort: number;
  /** Without a trailing slash. */
  publicUrl: string | null;
  consoleUrl: string | null;
  trustedProxyHops: number;
  rateLimits: RateLimits;
  signUp: Values["SIGN_UP"];
  /** Null: mails are not sent, but logged outside production. */
  mail: { smtpUrl: string; from: string } | null;
  /** The owner's; null means an embedded Postgres in `dataDir`. */
  databaseUrl: string | null;
  databaseReplicaUrls: string[];
  /** Null means the queue on Postgres and realtime in memory. */
  redisUrl: string | null;
  /** The first signs and encrypts, all verify and decrypt. Empty until the start has read or made the one in `dataDir`. */
  secretKeys: string[];
  /** Absolute. */
  dataDir: string;
  logLevel: Values["LOG_LEVEL"];
  workerConcurrency: number;
  workerStuckSeconds: number;
  /** Of these, the places that background runs may hold. */
  backgroundConcurrency: number;
  /** Runs of a tenant that has no cap of its own; null means any number. */
  tenantConcurrency: number | null;
  /** Milliseconds. */
  modelSilence: { firstPartMs: number; gapMs: number };
  models: {
    openaiApiKey: string | null;
    openaiBaseUrl: string | null;
    openaiModel: string;
    anthropicApiKey: string | null;
    anthropicModel: string;
  };
  composio: { apiKey: string | null; baseUrl: string | null; webhookSecret: string | null };
  otelEndpoint: string | null;
}

/** The message is meant for the terminal: one line for each bad variable, naming it and what it should be. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** An empty value counts as absent: compose files and CI systems pass variables through as "". */
function readValues(env: Environment): { values: Values; problems: string[] } {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { schema }] of Object.entries(VARIABLES)) {
    const raw = env[name]?.trim();
    const parsed = schema.safeParse(raw === "" ? undefined : raw);
    if (parsed.success) values[name] = parsed.data;
    else problems.push(`${name} must be ${parsed.error.issues[0]?.message ?? "valid"}${shown(name, raw)}.`);
  }
  return { values: values as Values, problems };
}

/** Values that can hold a password are never echoed. */
function shown(name: string, raw: string | undefined): string {
  return raw === undefined || /KEY|SECRET|URL|ENDPOINT/.test(name) ? "" : `, not "${raw}"`;
}

const NEEDED_IN_PRODUCTION = ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PUBLIC_URL"] as const;
const SECRET_KEY_LENGTH = 32;

function missing(values: Values, name: VariableName): boolean {
  const value = values[name];
  return value === null || (Array.isArray(value) && value.length === 0);
}

/** Rules that concern several variables; run only when each one is well-formed by itself. */
function crossCheck(values: Values): string[] {
  const problems: string[] = [];
  if (values.SMTP_URL !== null && values.MAIL_FROM === null) {
    problems.push("MAIL_FROM is required when SMTP_URL is set: who mails are from.");
  }
  if (
    values.BACKGROUND_CONCURRENCY !== null &&
    values.BACKGROUND_CONCURRENCY >= Math.max(2, values.WORKER_CONCURRENCY)
  ) {
    problems.push("BACKGROUND_CONCURRENCY must be less than WORKER_CONCURRENCY, so that chat always finds a place.");
  }
  if (values.NODE_ENV === "production") {
    for (const name of NEEDED_IN_PRODUCTION) {
      if (missing(values, name)) problems.push(`${name} is required when NODE_ENV is production.`);
    }
    if (values.SECRET_KEY.some((key) => key.length < SECRET_KEY_LENGTH)) {
      problems.push(
        `SECRET_KEY must be at least ${SECRET_KEY_LENGTH} characters in production (make one with: openssl rand -hex 32).`,
      );
    }
  } else if (values.ROLE !== "all") {
    // SECRET_KEY may be absent: processes that share a DATA_DIR share the key kept in it.
    for (const name of ["DATABASE_URL", "REDIS_URL"] as const) {
      if (missing(values, name)) {
        problems.push(`${name} is required when ROLE is ${values.ROLE}: separate processes must share it.`);
      }
    }
  }
  return problems;
}

/** @throws ConfigError naming every bad variable at once. */
export function parseConfig(env: Environment): Config {
  const { values, problems } = readValues(env);
  const all = problems.length > 0 ? problems : crossCheck(values);
  if (all.length > 0) throw new ConfigError(all);
  return {
    nodeEnv: values.NODE_ENV,
    role: values.ROLE,
    port: values.PORT,
    demoPort: values.DEMO_PORT,
    demoOrigins: values.DEMO_ORIGINS,
    consolePort: values.CONSOLE_PORT,
    publicUrl: values.PUBLIC_URL,
    consoleUrl: values.CONSOLE_URL,
    trustedProxyHops: values.TRUSTED_PROXY_HOPS,
    rateLimits: { ...defaultRateLimits(values.NODE_ENV), ...values.RATE_LIMITS },
    signUp: values.SIGN_UP,
    mail:
      values.SMTP_URL === null || values.MAIL_FROM === null
        ? null
        : { smtpUrl: values.SMTP_URL, from: values.MAIL_FROM },
    databaseUrl: values.DATABASE_URL,
    databaseReplicaUrls: values.DATABASE_REPLICA_URLS,
    redisUrl: values.REDIS_URL,
    secretKeys: values.SECRET_KEY,
    dataDir: resolve(values.DATA_DIR),
    logLevel: values.LOG_LEVEL,
    workerConcurrency: values.WORKER_CONCURRENCY,
    workerStuckSeconds: values.WORKER_STUCK_SECONDS,
    backgroundConcurrency: values.BACKGROUND_CONCURRENCY ?? Math.max(1, Math.floor(values.WORKER_CONCURRENCY / 4)),
    tenantConcurrency: values.TENANT_CONCURRENCY,
    modelSilence: {
      firstPartMs: values.MODEL_SILENCE_SECONDS * 1_000,
      gapMs: values.MODEL_SILENCE_SECONDS * 250,
    },
    models: {
      openaiApiKey: values.OPENAI_API_KEY,
      openaiBaseUrl: values.OPENAI_BASE_URL,
      openaiModel: values.OPENAI_MODEL,
      anthropicApiKey: values.ANTHROPIC_API_KEY,
      anthropicModel: values.ANTHROPIC_MODEL,
    },
    composio: {
      apiKey: values.COMPOSIO_API_KEY,
      baseUrl: values.COMPOSIO_BASE_URL,
      webhookSecret: values.COMPOSIO_WEBHOOK_SECRET,
    },
    otelEndpoint: values.OTEL_EXPORTER_OTLP_ENDPOINT,
  };
}

/** This process's environment: for the start, and for tests that start other processes with a few variables changed. */
export function processEnvironment(): Environment {
  return { ...process.env };
}

/** @throws ConfigError naming every bad variable at once. */
export function loadConfig(): Config {
  return parseConfig(processEnvironment());
}
