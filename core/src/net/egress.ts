/**
 * The one way out for requests whose address a tenant chose. Private, link-local and metadata addresses are refused;
 * the check is made on the address that is then connected to, so a name that changes its address gains nothing.
 * Redirects are never followed: the place they name was not checked by whoever configured the address.
 */
import { lookup as systemLookup, type LookupAddress } from "node:dns";
import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";
import type { Agent } from "undici";

export interface EgressOptions {
  /** Allows this machine's own addresses: for development and tests. */
  allowLoopback: boolean;
  /** How names become addresses; the system's way by default. Asked once for each connection. */
  lookup?: typeof systemLookup;
}

export interface Egress {
  /** Keeps connections open between requests. */
  fetch: typeof globalThis.fetch;
  /**
   * A new connection for each request. For calls that must not be repeated: a kept connection that the other side has
   * just closed would fail after the request was sent, with its outcome unknown.
   */
  fetchOnce: typeof globalThis.fetch;
  close(): Promise<void>;
}

/** The address was refused; nothing was sent. */
export class EgressRefused extends Error {
  readonly code = "EGRESS_REFUSED";

  constructor(host: string, why: string) {
    super(`Requests to ${host} are not allowed: ${why}`);
    this.name = "EgressRefused";
  }
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Opened by its first request: a server makes few or none, and the HTTP client takes some memory. */
interface Opened {
  fetch: typeof globalThis.fetch;
  kept: Agent;
  single: Agent;
}

export function createEgress(options: EgressOptions): Egress {
  let opening: Promise<Opened> | null = null;
  const open = () => (opening ??= openAgents(options));
  return {
    fetch: guarded(open, "kept", options),
    fetchOnce: guarded(open, "single", options),
    close: async () => {
      const opened = await opening;
      await Promise.all([opened?.kept.close(), opened?.single.close()]);
    },
  };
}

async function openAgents(options: EgressOptions): Promise<Opened> {
  const { Agent, fetch } = await import("undici");
  const connect = { lookup: checkedLookup(options), timeout: CONNECT_TIMEOUT_MS };
  // No timeouts of its own: every caller has a deadline, and some answers stream for minutes.
  return {
    fetch: fetch as unknown as typeof globalThis.fetch,
    kept: new Agent({ connect, keepAliveTimeout: 30_000, headersTimeout: 0, bodyTimeout: 0 }),
    single: new Agent({ connect, pipelining: 0, headersTimeout: 0, bodyTimeout: 0 }),
  };
}

/** @throws EgressRefused when the address can never be allowed, whatever it resolves to */
export function checkUrl(url: URL, options: EgressOptions): void {
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new EgressRefused(url.protocol, "only http and https are.");
  }
  if (url.username !== "" || url.password !== "") {
    throw new EgressRefused(url.hostname, "put credentials into headers, not into the address.");
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (isIP(host)) checkAddress(host, host, options);
}

function guarded(
  open: () => Promise<Opened>,
  which: "kept" | "single",
  options: EgressOptions,
): typeof globalThis.fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    checkUrl(url, options);
    const opened = await open();
    const request = opened.fetch as (
      input: string | URL | Request,
      init: RequestInit & { dispatcher: Agent },
    ) => Promise<Response>;
    return request(input, { ...init, redirect: "manual", dispatcher: opened[which] }).catch((error: unknown) => {
      // Some ports are closed to HTTP by the fetch standard: nothing was sent.
      if (error instanceof Error && error.cause instanceof Error && error.cause.message === "bad port") {
        throw new EgressRefused(url.host, "HTTP may not use its port.");
      }
      throw error;
    });
  };
}

function checkedLookup(options: EgressOptions): LookupFunction {
  const lookup = options.lookup ?? systemLookup;
  return (hostname, lookupOptions, callback) => {
    lookup(hostname, { ...lookupOptions, all: true }, (error, addresses: LookupAddress[]) => {
      if (error) return callback(error, "", 0);
      try {
        for (const { address } of addresses) checkAddress(hostname, address, options);
      } catch (refused) {
        return callback(refused as NodeJS.ErrnoException, "", 0);
      }
      if (lookupOptions.all) return callback(null, addresses);
      const [first] = addresses;
      if (!first) return callback(new EgressRefused(hostname, "it has no address."), "", 0);
      return callback(null, first.address, first.family);
    });
  };
}

function checkAddress(host: string, address: string, options: EgressOptions): void {
  const family = isIPv6(address) ? "ipv6" : "ipv4";
  if (loopback.check(address, family)) {
    if (options.allowLoopback) return;
    throw new EgressRefused(host, "it is this machine.");
  }
  if (internal.check(address, family)) throw new EgressRefused(host, "it is a private or reserved address.");
}

/** IPv4 rules also match addresses mapped into IPv6. */
const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

const internal = new BlockList();
const INTERNAL_IPV4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  // Azure's metadata, at a public address.
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
] as const;
const INTERNAL_IPV6 = [
  // IPv4 addresses in older notations, which may be carried to their IPv4 owner.
  ["::", 96],
  ["::ffff:0:0:0", 96],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
  ["5f00::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
] as const;
for (const [network, prefix] of INTERNAL_IPV4) internal.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of INTERNAL_IPV6) internal.addSubnet(network, prefix, "ipv6");
