/**
 * A TCP proxy that breaks the network between two real processes. Modes change at run time and act on open
 * connections too:
 *
 *   pass        bytes go through
 *   refuse      new connections are refused (nothing listens); open ones go on
 *   blackhole   nothing gets through and nothing is closed, as with lost packets; new connections hang. Held bytes
 *               arrive when the mode ends, as after retransmission
 *   half-open   open connections lose their far end: the server's side is closed, the client's stays silent for good.
 *               New connections hang
 *   latency     every byte arrives `delayMs` later, in each direction
 *   throttle    at most `bytesPerSecond` towards the client
 *
 * `cut()` resets the open connections in any mode.
 */
import { connect, createServer, type Socket } from "node:net";
import { Pipe } from "./fault-pipe.ts";
import { closeServer, listen } from "./listening.ts";

export type ProxyMode =
  | { kind: "pass" }
  | { kind: "refuse" }
  | { kind: "blackhole" }
  | { kind: "half-open" }
  | { kind: "latency"; delayMs: number }
  | { kind: "throttle"; bytesPerSecond: number };

export interface FaultProxy {
  port: number;
  mode(): ProxyMode;
  setMode(mode: ProxyMode): Promise<void>;
  /** Resets every open connection on both sides; returns how many there were. */
  cut(): number;
  /** Open connections. */
  connections(): number;
  stop(): Promise<void>;
}

export interface FaultProxyOptions {
  target: { host?: string; port: number };
  /** Where to listen; default a free port. */
  port?: number;
}

interface Link {
  client: Socket;
  /** Null while the connection hangs unanswered. */
  upstream: Socket | null;
  pipes: Pipe[];
}

export async function startFaultProxy({ target, port: wanted = 0 }: FaultProxyOptions): Promise<FaultProxy> {
  const links = new Set<Link>();
  let mode: ProxyMode = { kind: "pass" };

  function close(link: Link, reset: boolean): void {
    if (!links.delete(link)) return;
    for (const socket of [link.client, link.upstream]) {
      if (reset) socket?.resetAndDestroy();
      else socket?.destroy();
    }
  }

  /** Ties a socket's end to its link's, as long as the two sides still know of each other. */
  function watch(link: Link, socket: Socket): void {
    let failed = false;
    socket.on("error", () => {
      failed = true;
    });
    socket.on("close", () => {
      if (mode.kind === "blackhole") return;
      const other = socket === link.client ? link.upstream : link.client;
      const halfOpen = link.pipes.length === 0 && socket !== link.client;
      if (halfOpen) return;
      if (failed || !other || other.destroyed) close(link, failed);
      else link.pipes[socket === link.client ? 0 : 1]?.finish();
    });
  }

  function open(link: Link): void {
    const upstream = connect({
      host: target.host ?? "127.0.0.1",
      port: target.port,
      noDelay: true,
      allowHalfOpen: true,
    });
    link.upstream = upstream;
    watch(link, upstream);
    link.pipes = [new Pipe(link.client, upstream), new Pipe(upstream, link.client)];
    shape(link);
  }

  /** Swallows what the client sends, for good; only the client can end it. */
  function hang(link: Link): void {
    if (link.client.readableEnded) close(link, false);
    link.client.once("end", () => close(link, false)).resume();
  }

  /** Puts the mode into effect on one connection. */
  function shape(link: Link): void {
    switch (mode.kind) {
      case "half-open": {
        const { upstream, pipes } = link;
        link.pipes = [];
        for (const pipe of pipes) pipe.discard();
        upstream?.destroy();
        hang(link);
        return;
      }
      case "blackhole":
        for (const pipe of link.pipes) pipe.shape({ held: true });
        return;
      case "latency":
        for (const pipe of link.pipes) pipe.shape({ delayMs: mode.delayMs });
        return;
      case "throttle":
        link.pipes[0]?.shape({});
        link.pipes[1]?.shape({ bytesPerSecond: mode.bytesPerSecond });
        return;
      case "pass":
      case "refuse":
        for (const pipe of link.pipes) pipe.shape({});
    }
  }

  const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    const link: Link = { client, upstream: null, pipes: [] };
    links.add(link);
    watch(link, client);
    if (mode.kind === "half-open") hang(link);
    else if (mode.kind !== "blackhole") open(link);
  });
  const port = await listen(server, wanted);

  async function setMode(next: ProxyMode): Promise<void> {
    const before = mode.kind;
    mode = next;
    if (next.kind === "refuse" && server.listening) void closeServer(server);
    if (next.kind !== "refuse" && !server.listening) await listen(server, port);
    for (const link of links) {
      // What went away behind a blackhole is noticed when packets flow again.
      const lost = link.client.destroyed || link.upstream?.destroyed === true;
      if (before === "blackhole" && next.kind !== "blackhole" && lost) close(link, true);
      else if (before === "blackhole" && link.upstream === null && next.kind !== "half-open") open(link);
      else shape(link);
    }
  }

  function cut(): number {
    const open = [...links];
    for (const link of open) close(link, true);
    return open.length;
  }

  return {
    port,
    mode: () => mode,
    setMode,
    cut,
    connections: () => links.size,
    stop: async () => {
      const closed = server.listening ? closeServer(server) : Promise.resolve();
      cut();
      await closed;
    },
  };
}
