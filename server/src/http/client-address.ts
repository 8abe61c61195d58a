import type { AppContext } from "./request.ts";

/**
 * The client's address as far as it can be trusted: behind so many proxies, what the outermost of them saw; without
 * any, whoever is connected. Anything further left in `X-Forwarded-For` was written by the client.
 */
export function clientAddress(c: AppContext, trustedProxyHops: number): string | null {
  const connected = c.env?.incoming?.socket.remoteAddress ?? null;
  return addressBehind(connected, c.req.header("x-forwarded-for"), trustedProxyHops);
}

/** The same of any connection: who connected, and the header's value where there is one. */
export function addressBehind(
  connected: string | null,
  header: string | undefined,
  trustedProxyHops: number,
): string | null {
  if (trustedProxyHops === 0) return connected;
  const forwarded = (header ?? "")
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
  return forwarded.at(-trustedProxyHops) ?? connected;
}
