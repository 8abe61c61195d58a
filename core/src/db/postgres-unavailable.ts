import { ProblemError } from "../errors.ts";

/** SQLSTATE classes and codes that mean "not now": connection lost, shutting down, starting up, out of connections. */
const SQLSTATE = /^(08...|57P0[1235]|53300|53400|25006)$/;
const NETWORK = new Set(["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "ENOTFOUND", "EHOSTUNREACH", "EAI_AGAIN"]);
/** What `pg` and its pool say without a code. */
const MESSAGE =
  /timeout exceeded when trying to connect|query read timeout|connection terminated|connection timeout|client has encountered a connection error|cannot use a pool after calling end/i;

/** Postgres could not be reached, certainly: `cause` says how. That it is away is logged once, by whoever watches it. */
export class PostgresUnavailable extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "PostgresUnavailable";
  }
}

/** For an error that came from Postgres or the way to it: the same, or what it means. */
export function asPostgresError(error: unknown): unknown {
  if (error instanceof PostgresUnavailable || !isPostgresUnavailable(error)) return error;
  return new PostgresUnavailable(error instanceof Error ? error.message : String(error), error);
}

/** True when an error, or what caused it, says that Postgres could not be reached: nothing is wrong with the request. */
export function isPostgresUnavailable(error: unknown): boolean {
  for (let each: unknown = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth++) {
    // It has been judged where it happened: what is away may be another service.
    if (each instanceof ProblemError) return false;
    if (each instanceof PostgresUnavailable) return true;
    const code = "code" in each && typeof each.code === "string" ? each.code : "";
    if (SQLSTATE.test(code) || NETWORK.has(code) || MESSAGE.test(each.message)) return true;
    if (each instanceof AggregateError && each.errors.some(isPostgresUnavailable)) return true;
  }
  return false;
}
