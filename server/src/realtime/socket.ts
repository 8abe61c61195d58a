import type { DefaultEventsMap, Server, Socket } from "socket.io";
import type { ClientToServer, ServerToClient } from "@agent-engine/protocol/realtime.ts";
import type { Principal } from "../http/request.ts";

export interface SocketData {
  principal: Principal;
  correlationId: string;
}

export type RealtimeServer = Server<ClientToServer, ServerToClient, DefaultEventsMap, SocketData>;
export type RealtimeSocket = Socket<ClientToServer, ServerToClient, DefaultEventsMap, SocketData>;

/** The room of a conversation: typing and hints go there. Its events go through the hub. */
export const roomOf = (conversationId: string): string => `conversation:${conversationId}`;
