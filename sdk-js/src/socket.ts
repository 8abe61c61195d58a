/** The part of Socket.IO's client that we use: both `io` of socket.io-client and `io` of `websocket-io.ts` fit. */
export interface RealtimeSocket {
  on(event: string, listener: (...args: never[]) => void): unknown;
  emit(event: string, ...args: unknown[]): unknown;
  disconnect(): unknown;
}

export interface SocketOptions {
  path: string;
  auth: { token: string };
  query: Record<string, string>;
  forceNew: true;
  /** Off: `connection-state.ts` decides when to try again. */
  reconnection: false;
}

export type SocketFactory = (url: string, options: SocketOptions) => RealtimeSocket;
