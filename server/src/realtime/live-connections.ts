import type { Revocations } from "@agent-engine/core/visitors/revocations.ts";
import { repeat } from "@agent-engine/core/repeat.ts";
import type { Logger } from "pino";
import type { Principal } from "../http/request.ts";

/** How often keys and members' sessions of live connections are asked for. */
const EVERY_MS = 2_000;

/** The connections of this server that outlive a request, each ended once its credential is good no more. */
export interface LiveConnections {
  /** Answers how to stop watching. `end` is called once at most. */
  watch(principal: Principal, end: () => void): () => void;
  readonly size: number;
  stop(): Promise<void>;
}

interface Connection {
  principal: Principal;
  end: () => void;
}

/**
 * A visitor's credential is looked up in the revocations whenever something new is known of them: at once where the bus
 * says so, else within 2 s. Keys and members' sessions are asked for in Postgres every 2 s, each once however many
 * connections it holds. What cannot be asked goes on.
 */
export function createLiveConnections(revocations: Revocations, log: Logger): LiveConnections {
  const connections = new Set<Connection>();

  function drop(connection: Connection): void {
    if (connections.delete(connection)) connection.end();
  }

  const isRevoked = ({ principal: { visitor } }: Connection) => visitor != null && revocations.isRevoked(visitor);
  const stopListening = revocations.onChange(() => {
    for (const connection of connections) if (isRevoked(connection)) drop(connection);
  });

  const asking = repeat(log, EVERY_MS, async () => {
    const byCredential = Map.groupBy(connections, ({ principal }) => principal.lasting?.key ?? null);
    for (const [key, held] of byCredential) {
      const [first] = held;
      if (key === null || !first?.principal.lasting || (await first.principal.lasting.stillHolds())) continue;
      for (const connection of held) drop(connection);
    }
  });

  return {
    watch(principal, end) {
      const connection = { principal, end };
      connections.add(connection);
      // It may have been revoked between the check and now.
      if (isRevoked(connection)) queueMicrotask(() => drop(connection));
      return () => void connections.delete(connection);
    },
    get size() {
      return connections.size;
    },
    async stop() {
      stopListening();
      await asking.stop();
    },
  };
}
