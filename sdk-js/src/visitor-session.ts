/**
 * A visitor's credential on one site: opened with the publishable key, renewed with the old token so that the visitor
 * stays the same person, kept across reloads.
 */
import type { SiteProfile, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { request, type Credentials, type HttpOptions } from "./http.ts";
import type { KeyValue } from "./key-value.ts";
import { AgentEngineError } from "./problem.ts";

/** A token this close to its expiry is renewed before it is used. */
const MARGIN_MS = 60_000;

export interface VisitorSessionOptions extends HttpOptions {
  publishableKey: string;
  storage: KeyValue;
  /** Milliseconds since the epoch. */
  now?: () => number;
}

export interface VisitorCredentials extends Credentials {
  /** Opens or renews the session and answers what the site looks like. */
  open(): Promise<SiteProfile>;
}

export function createVisitorSession(options: VisitorSessionOptions): VisitorCredentials {
  const { storage, publishableKey, now = Date.now } = options;
  let visitorToken = storage.get("token");
  let expiresAtMs = Number(storage.get("expires"));
  let opening: Promise<SiteProfile> | null = null;

  function hold(token: string | null, until: number): void {
    visitorToken = token;
    expiresAtMs = until;
    storage.set("token", token);
    storage.set("expires", `${until}`);
  }

  async function openOnce(): Promise<SiteProfile> {
    try {
      const body = { publishableKey, ...(visitorToken ? { visitorToken } : null) };
      const session = await request<VisitorSession>(options, "/v1/visitor-sessions", { body });
      hold(session.visitorToken, Date.parse(session.expiresAt));
      return session.site;
    } catch (error) {
      // The old token may be past any renewal: begin as a new visitor rather than never again.
      if (!visitorToken || !(error instanceof AgentEngineError) || error.status !== 401) throw error;
      hold(null, 0);
      return openOnce();
    }
  }

  const open = () =>
    (opening ??= openOnce().finally(() => {
      opening = null;
    }));
  const renewed = async () => {
    await open();
    return visitorToken ?? "";
  };

  return {
    open,
    token: async () => (visitorToken && expiresAtMs - MARGIN_MS > now() ? visitorToken : renewed()),
    renew: async (refused) => (visitorToken && visitorToken !== refused ? visitorToken : renewed()),
  };
}
