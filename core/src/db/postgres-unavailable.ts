/** SQLSTATE classes and codes that mean "not now": connection lost, shutting down, starting up, out of connections. */
const SQLSTATE = /^(08...|57P0[1235]|53300|53400|25006)$/;
const NETWORK = new Set(["ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EPIPE", "ENOTFOUND", "EHOSTUNREACH", "EAI_AGAIN"]);
/** What `pg` and its pool say without a code. */
const MESSAGE =
  /timeout exceeded when trying to connect|query read timeout|connection terminated|connection timeout|client has encountered a connection error|cannot use a pool after calling end/i;

/** True when an error, or what caused it, says that Postgres could not be reached: nothing is wrong with the request. */
export function isPostgresUnavailable(error: unknown): boolean {
  for (let each: unknown = error, depth = 0; each instanceof Error && depth < 8; each = each.cause, depth++) {
    const code = "code" in each && typeof each.code === "string" ? each.code : "";
    if (SQLSTATE.test(code) || NETWORK.has(code) || MESSAGE.test(each.message)) return true;
    if (each instanceof AggregateError && each.errors.some(isPostgresUnavailable)) return true;
  }
  return false;
}
