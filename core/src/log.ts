import pino, { type DestinationStream, type Logger, type LoggerOptions } from "pino";
import type { Config } from "./config/env.ts";
import { PostgresUnavailable } from "./db/postgres-unavailable.ts";
import { redactNames, redactText } from "./redact.ts";

/** Lines gather before they are written: a system call each would cost a busy server a tenth of its time. */
const BUFFER_BYTES = 4_096;
const FLUSH_MS = 250;

const LEVEL_OF_WARNINGS = 40;

const hooks: LoggerOptions["hooks"] = {
  /** That Postgres is away is one line, of whoever watches it; what fails for that reason, many times a second, is detail. */
  logMethod(args, method, level) {
    const [fields] = args as unknown[];
    const isConsequence = isObject(fields) && fields.err instanceof PostgresUnavailable;
    if (level >= LEVEL_OF_WARNINGS && isConsequence) this.debug(...args);
    else method.apply(this, args);
  },
  streamWrite: redactText,
};

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/**
 * Structured logs, one JSON object a line. What is secret by its name is redacted wherever it stands in the logged
 * object, and what looks like a secret wherever it stands in the line: in a message, in a stack, in an address.
 */
export function createLogger(config: Pick<Config, "logLevel" | "role">, destination?: DestinationStream): Logger {
  return pino(
    {
      level: config.logLevel,
      base: { role: config.role },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { log: (fields) => redactNames(fields) as Record<string, unknown> },
      serializers: { err: describeError },
      hooks,
    },
    destination ?? pino.destination({ dest: 1, sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_MS }),
  );
}

/** Postgres quotes the row or the key that a statement failed on, and requests carry what was sent. */
const QUOTES = ["detail", "where", "parameters", "request", "requestBodyValues", "requestBody", "config"];

/** An error with everything it says of itself, and of its causes, but for what it quotes. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return redactNames(error);
  const { raw: _raw, ...described } = pino.stdSerializers.errWithCause(error);
  return withoutQuotes(described);
}

function withoutQuotes(described: unknown): unknown {
  if (typeof described !== "object" || described === null) return described;
  if (Array.isArray(described)) return described.map(withoutQuotes);
  const kept = Object.entries(described).filter(([name]) => !QUOTES.includes(name));
  return redactNames(Object.fromEntries(kept.map(([name, value]) => [name, withoutQuotes(value)])));
}
