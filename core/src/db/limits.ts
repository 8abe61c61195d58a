/**
 * A process that is frozen, or cut off, in the middle of a transaction would hold its locks for as long as it likes, and
 * with them its conversations: the server ends the transaction. Statements here take milliseconds, waits for a lock
 * included; one that takes half a minute never ends well.
 */
export const TIMEOUT_OPTIONS = "-c idle_in_transaction_session_timeout=10s -c statement_timeout=30s";

/** A single connection that swallows everything is given up a little later, from this side. */
export const QUERY_TIMEOUT_MS = 35_000;

/** For a free connection, or a new one. */
export const CONNECT_TIMEOUT_MS = 5_000;
