import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";

/**
 * Starts a proxy to that port at a port of its own that is not among the used ones, and adds it to them. The system gives
 * ports out again: one whose proxy refuses connections at the moment, and one that a worker remembers for what failed.
 */
export async function startProxyElsewhere(port: number, used: Set<number>): Promise<FaultProxy> {
  const proxy = await startFaultProxy({ target: { port } });
  if (!used.has(proxy.port)) {
    used.add(proxy.port);
    return proxy;
  }
  // Held until there is another one, so that it is not given out again.
  return startProxyElsewhere(port, used).finally(() => proxy.stop());
}
