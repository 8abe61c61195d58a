/** What Node's and undici's network errors say about a request: whether it can have reached the other side. */

export interface NetworkError {
  /** Node's or undici's code, for instance `ECONNREFUSED`. */
  code: string;
  message: string;
  /** The connection was never made, so nothing was sent. */
  notSent: boolean;
}

const NEVER_CONNECTED = new Set([
  "EGRESS_REFUSED",
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "ERR_TLS_CERT_ALTNAME_INVALID",
]);

const MAX_DEPTH = 8;

/** The network error in an error's chain of causes, or null when there is none. Never throws. */
export function networkError(error: unknown): NetworkError | null {
  let current = error;
  for (let depth = 0; depth < MAX_DEPTH && current instanceof Error; depth++) {
    const found = asNetworkError(current);
    if (found) return found;
    current = current instanceof AggregateError ? (current.errors[0] as unknown) : current.cause;
  }
  return null;
}

function asNetworkError(error: Error): NetworkError | null {
  if (!("code" in error) || typeof error.code !== "string") return null;
  const { code, message } = error;
  // `connect` is also the system call of a connection that timed out before it was made.
  const isConnect = "syscall" in error && error.syscall === "connect";
  if (!NEVER_CONNECTED.has(code) && !/^(E[A-Z_]+|UND_ERR_[A-Z_]+|HPE_[A-Z_]+)$/.test(code)) return null;
  return { code, message: message || code, notSent: NEVER_CONNECTED.has(code) || isConnect };
}
