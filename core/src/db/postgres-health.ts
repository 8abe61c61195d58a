/**
 * Whether Postgres answers. A server that is frozen, or a line that swallows everything, reports no error: a question a
 * second finds out. While it is away requests fail at once instead of each waiting for its own timeout, and what hangs in
 * connections that are dead is told so.
 */
import type pg from "pg";
import type { Logger } from "pino";
import { PostgresUnavailable } from "./postgres-unavailable.ts";

const PROBE_MS = 1_000;
const PROBE_AWAY_MS = 250;

export interface PostgresHealth {
  /** Gives up this pool's connections when Postgres falls silent. */
  watch(pool: pg.Pool): void;
  /** Throws while it is away. */
  assertAnswers(): void;
  close(): void;
}

/** `ask` rejects when there is no answer in time. */
export function watchPostgres(ask: () => Promise<unknown>, log: Logger): PostgresHealth {
  const connections = new Set<pg.PoolClient>();
  let isAway = false;
  let isClosed = false;
  let isAsking = false;
  let timer: NodeJS.Timeout | undefined;

  async function probe(): Promise<void> {
    if (isAsking || isClosed) return;
    isAsking = true;
    clearTimeout(timer);
    // A single connection may have broken: what counts is that a second question, on a new one, gets no answer either.
    const error = (await failure(ask)) && (await failure(ask));
    isAsking = false;
    if (isClosed) return;
    if (error && !isAway) leave(error);
    else if (!error && isAway) comeBack();
    timer = setTimeout(() => void probe(), isAway ? PROBE_AWAY_MS : PROBE_MS).unref();
  }

  function leave(error: Error): void {
    isAway = true;
    log.error(
      { err: error },
      "Postgres does not answer: requests get 503, sockets stay, runs wait; nothing that was acknowledged is lost. Check that Postgres runs and that DATABASE_URL is right; nothing else needs a restart",
    );
    // A pool's clients are whole clients, though its types do not say so; the ORM brings a `pg` of its own.
    for (const client of connections) (client as pg.PoolClient & pg.Client).connection.stream.destroy();
  }

  function comeBack(): void {
    isAway = false;
    log.info("Postgres answers again: requests are served, runs go on");
  }

  void probe();
  return {
    watch(pool) {
      pool.on("connect", (client) => {
        client.on("error", (error) => log.debug({ err: error }, "postgres connection broke"));
        connections.add(client);
      });
      pool.on("remove", (client) => connections.delete(client));
      // A connection the server drops while it rests; without a listener it would end the process.
      pool.on("error", (error) => {
        log.debug({ err: error }, "postgres connection lost");
        void probe();
      });
    },
    assertAnswers() {
      if (isAway) throw new PostgresUnavailable("Postgres does not answer");
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}

/** Why there was no answer. A refusal with a reason is one: Postgres is there. */
async function failure(ask: () => Promise<unknown>): Promise<Error | null> {
  try {
    await ask();
    return null;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const isAnswer = /^(?!08|57P)(?=.*\d)[0-9A-Z]{5}$/.test(code);
    return isAnswer || !(error instanceof Error) ? null : error;
  }
}
