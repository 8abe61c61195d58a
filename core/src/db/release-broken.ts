import type pg from "pg";

/** Whoever holds a connection that has ended finds out at its next query, and has released it by then if ever. */
const GRACE_MS = 1_000;

/**
 * Kysely, which the ORM stands on, never releases a connection whose `begin` or `rollback` fails: a few breaks of the
 * connection, and the pool would have no place left for good. What has ended and is still taken is released here.
 */
export function releaseBroken(pool: pg.Pool): void {
  const taken = new Set<pg.PoolClient>();
  pool.on("acquire", (client) => taken.add(client));
  pool.on("release", (_error, client) => taken.delete(client));
  pool.on("connect", (client) =>
    client.once("end", () => {
      if (!taken.has(client)) return;
      setTimeout(() => {
        if (taken.has(client)) client.release(true);
      }, GRACE_MS).unref();
    }),
  );
}
