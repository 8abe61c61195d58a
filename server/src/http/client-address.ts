import type { AppContext } from "./request.ts";

/**
 * The client's address as far as it can be trusted: behind so many proxies, what the outermost of them saw; without
 * any, whoever is connected. Anything further left in `X-Forwarded-For` was written by the client.
 */
export function clientAddress(c: AppContext, trustedProxyHops: number): string | null {
  const connected = c.env?.incoming?.socket.remoteAddress ?? null;
  if (trustedProxyHops === 0) return connected;
  const forwarded = (c.req.header("x-forwarded-for") ?? "")
    .split(",")
    .map((each) => each.trim())
    .filter(Boolean);
  return forwarded.at(-trustedProxyHops) ?? connected;
}
