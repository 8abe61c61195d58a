import type { ConnectionState } from "@agent-engine/sdk/connection-state.ts";
import { words } from "./words.ts";

/** What to say about the connection; null while events arrive, by whichever way, or are about to for the first time. */
export function connectionNotice(connection: ConnectionState, isOnline: boolean, wasLive: boolean): string | null {
  if (!isOnline) return words.offline;
  switch (connection.status) {
    case "connecting":
      return wasLive || connection.failures > 0 ? words.reconnecting : null;
    case "reconnecting":
      return words.reconnecting;
    case "degraded":
      return connection.via === null ? words.reconnecting : null;
    default:
      return null;
  }
}
