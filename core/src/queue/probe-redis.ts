import { Redis } from "ioredis";

const TIMEOUT_MS = 4_000;

/** Connects once and asks for a sign of life. Rejects with why there is none, within a few seconds. */
export async function probeRedis(url: string): Promise<void> {
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // The connection's own error says more than the rejection, which is only that the connection is closed.
  let cause: Error | null = null;
  client.on("error", (error: Error) => (cause = error));
  try {
    await client.connect();
    await client.ping();
  } catch (error) {
    throw cause ?? error;
  } finally {
    client.disconnect();
  }
}
