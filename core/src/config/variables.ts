/**
 * Every environment variable the product reads, with its check, its default and the sentence that documents it.
 * `docs/configuration.md` is compared to this table by a test, so a new variable is written down in both places.
 */
import { z } from "zod";
import { parseRateLimits } from "./rate-limits.ts";

/** What a check says when it fails is read by a person at a terminal, after "NAME must be". */
export interface Variable<T> {
  readonly schema: z.ZodType<T>;
  /** As a person would write it; null when the variable is simply absent. */
  readonly defaultText: string | null;
  readonly description: string;
}

function variable<T>(schema: z.ZodType<T>, defaultText: string | null, description: string): Variable<T> {
  return { schema, defaultText, description };
}

function choice<const T extends readonly [string, ...string[]]>(choices: T, fallback: T[number]) {
  return z.enum(choices, { error: () => `one of ${choices.join(", ")}` }).default(fallback as never);
}

function wholeBetween(min: number, max: number) {
  const error = `a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, { error, abort: true })
    .transform(Number)
    .refine((n) => n >= min && n <= max, { error });
}

const whole = (min: number, max: number, fallback: number) => wholeBetween(min, max).default(fallback);

function isUrl(text: string, protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol);
}

function url(protocols: readonly string[], error: string) {
  return z.string().refine((text) => isUrl(text, protocols), { error });
}

const httpUrl = url(["http:", "https:"], "a URL that begins with http:// or https://").transform((text) =>
  text.replace(/\/+$/, ""),
);
const postgresUrl = url(["postgres:", "postgresql:"], "a URL like postgres://user:password@host:5432/database");
const smtpUrl = url(["smtp:", "smtps:"], "a URL like smtp://user:password@host:587");
const redisUrl = url(["redis:", "rediss:"], "a URL like redis://host:6379");
const rateLimits = z.string().transform((text, check) => {
  const limits = parseRateLimits(text);
  if (limits) return limits;
  check.addIssue("names and whole numbers as message.visitor=40,read.key=12000, with names of docs/limits.md");
  return z.NEVER;
});
const text = z.string();
const optional = <T>(schema: z.ZodType<T>) => schema.nullable().default(null);
const list = (part: z.ZodType<string, string>) =>
  z
    .string()
    .transform((value) =>
      value
        .split(",")
        .map((entry) => entry.trim())
        .filter(Boolean),
    )
    .pipe(z.array(part))
    .default([]);

export const VARIABLES = {
  NODE_ENV: variable(
    choice(["development", "production", "test"], "development"),
    "development",
    "`production` requires real services and logs JSON; anything else may use embedded ones.",
  ),
  ROLE: variable(
    choice(["all", "server", "worker"], "all"),
    "all",
    "Which part this process plays: the API and realtime gateway (`server`), the run engine (`worker`), or both.",
  ),
  PORT: variable(whole(0, 65535, 3000), "3000", "API, realtime and widget files. 0 picks a free port."),
  CONSOLE_PORT: variable(whole(0, 65535, 3001), "3001", "The admin console. 0 picks a free port."),
  DEMO_PORT: variable(
    whole(0, 65535, 3002),
    "3002",
    "The demo page, on an origin of its own as a customer's site would be. 0 picks a free port.",
  ),
  DEMO_ORIGINS: variable(
    list(httpUrl),
    null,
    "Further origins whose pages may embed the demo's widget, comma-separated: to try it on a page of your own.",
  ),
  DATABASE_URL: variable(
    optional(postgresUrl),
    null,
    "Postgres, as the owner of the database: the first process migrates and creates the role that serves queries. Absent outside production: an embedded Postgres in `DATA_DIR`.",
  ),
  DATABASE_REPLICA_URLS: variable(list(postgresUrl), null, "Read replicas, comma-separated."),
  REDIS_URL: variable(
    optional(redisUrl),
    null,
    "Redis for the queue and the fan-out of events. Absent outside production: the queue runs on Postgres, realtime in memory, and `ROLE` is `all`.",
  ),
  PUBLIC_URL: variable(
    optional(httpUrl),
    null,
    "Where browsers reach the API. Absent outside production: `http://localhost:<PORT>`.",
  ),
  CONSOLE_URL: variable(
    optional(httpUrl),
    null,
    "Where browsers reach the console; mails link there. Absent: `http://localhost:<CONSOLE_PORT>`, or `PUBLIC_URL` in production.",
  ),
  TRUSTED_PROXY_HOPS: variable(
    whole(0, 10, 0),
    "0",
    "How many proxies before the API add to `X-Forwarded-For`. 0: none, so the header is ignored and a client is the address that connects.",
  ),
  RATE_LIMITS: variable(
    optional(rateLimits),
    null,
    "Other limits than the usual ones, as `message.visitor=40,read.key=12000`; their names and values are in [limits.md](limits.md). `all=1000000` sets each of them, for a load test.",
  ),
  SIGN_UP: variable(
    choice(["invited", "open"], "invited"),
    "invited",
    "Who may make an account: people who were `invited`, or everybody (`open`), who may then make a tenant of their own.",
  ),
  SMTP_URL: variable(
    optional(smtpUrl),
    null,
    "The mail server. Absent: in production no mail is sent, which the log says; otherwise mails are written to the log.",
  ),
  MAIL_FROM: variable(
    optional(text),
    null,
    "Sender of mails, as `Agent Engine <no-reply@example.com>`. Needed with `SMTP_URL`.",
  ),
  SECRET_KEY: variable(
    list(text),
    null,
    "Master key, at least 32 characters in production. Comma-separated for rotation: the first signs and encrypts, all verify and decrypt. Absent outside production: made once and kept in `DATA_DIR`.",
  ),
  DATA_DIR: variable(
    z.string().default(".data"),
    ".data",
    "Where the embedded Postgres, the secret key and `dev.json` are kept.",
  ),
  LOG_LEVEL: variable(
    choice(["trace", "debug", "info", "warn", "error", "fatal", "silent"], "info"),
    "info",
    "The least severe log line that is written.",
  ),
  WORKER_CONCURRENCY: variable(
    whole(1, 10_000, 2000),
    "2000",
    "How many runs a worker takes at once. Runs mostly wait for the network, so it is far above the number of cores.",
  ),
  BACKGROUND_CONCURRENCY: variable(
    optional(wholeBetween(0, 10_000)),
    null,
    "How many of a worker's places background runs (queue class `standard`) may hold; chat may use all that they do not. Absent: a quarter of `WORKER_CONCURRENCY`, at least 1. 0: this worker takes none.",
  ),
  TENANT_CONCURRENCY: variable(
    optional(wholeBetween(1, 1_000_000)),
    null,
    "How many runs of one tenant may run at once, over all workers; the others wait. A tenant's own `max_running` goes before it. Absent: any number. The same for every worker.",
  ),
  MODEL_SILENCE_SECONDS: variable(
    whole(4, 3_600, 120),
    "120",
    "How long a model may say nothing before it begins; within an answer, a quarter of that. Then the attempt is given up and tried again. Raise it for a model of your own that is slow to begin.",
  ),
  WORKER_STUCK_SECONDS: variable(
    whole(0, 3_600, 10),
    "10",
    "A worker process whose event loop stands still for so long, as in an endless loop, ends itself to be started anew. 0: never.",
  ),
  OPENAI_API_KEY: variable(optional(text), null, "Key for OpenAI; the `auto` provider then uses it."),
  OPENAI_BASE_URL: variable(
    optional(httpUrl),
    null,
    "Any OpenAI-compatible server (Ollama, vLLM, …), called with Chat Completions.",
  ),
  OPENAI_MODEL: variable(
    text.default("gpt-5-mini"),
    "gpt-5-mini",
    "The model of the `auto` provider at OpenAI or `OPENAI_BASE_URL`.",
  ),
  ANTHROPIC_API_KEY: variable(
    optional(text),
    null,
    "Key for Anthropic; the `auto` provider uses it when OpenAI is not configured.",
  ),
  ANTHROPIC_MODEL: variable(
    text.default("claude-haiku-4-5"),
    "claude-haiku-4-5",
    "The model of the `auto` provider at Anthropic.",
  ),
  COMPOSIO_API_KEY: variable(optional(text), null, "Key for Composio, which executes external tools."),
  COMPOSIO_BASE_URL: variable(optional(httpUrl), null, "Another address for Composio's API."),
  COMPOSIO_WEBHOOK_SECRET: variable(optional(text), null, "Verifies the webhooks that Composio sends."),
  OTEL_EXPORTER_OTLP_ENDPOINT: variable(
    optional(httpUrl),
    null,
    "Where traces and metrics are sent (OTLP over HTTP). Absent: they are not.",
  ),
} satisfies Record<string, Variable<unknown>>;

export type VariableName = keyof typeof VARIABLES;
export type Values = { [Name in VariableName]: z.output<(typeof VARIABLES)[Name]["schema"]> };
