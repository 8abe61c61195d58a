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
  /**
   * Opens or renews the session and answers what the site looks like. With an `identityToken`, signed by the customer's
   * server, the visitor becomes who it names, with all they said so far; `reset` ends the session and begins another, as
   * somebody new.
   */
  open(change?: { identityToken: string } | { reset: true }): Promise<SiteProfile>;
}

export function createVisitorSession(options: VisitorSessionOptions): VisitorCredentials {
  const { storage, publishableKey, now = Date.now } = options;
  /** When it ends and the token, with a blank between them. */
  let held: string | null = null;
  let opening: Promise<SiteProfile> | undefined;

  function hold(session: string | null): void {
    storage.set("session", (held = session));
  }

  // Read each time: another tab may hold a newer one. What storage does not take is kept here.
  const current = (): [token?: string, until?: string] => {
    const [until, token] = (storage.get("session") ?? held ?? "").split(" ");
    return [token, until];
  };

  async function openOnce(change?: object): Promise<SiteProfile> {
    const [visitorToken] = current();
    // Whatever becomes of the request, who has signed out is signed out here.
    if (change && "reset" in change) hold(null);
    try {
      const body = { publishableKey, visitorToken, ...change };
      const session = await request<VisitorSession>(options, "/v1/visitor-sessions", { body });
      // Meanwhile another tab may have become somebody.
      if (change || current()[0] === visitorToken) hold(`${Date.parse(session.expiresAt)} ${session.visitorToken}`);
      return session.site;
    } catch (error) {
      // The old token may be past any renewal: begin as a new visitor rather than never again.
      if (!visitorToken || change || !(error instanceof AgentEngineError) || error.status !== 401) throw error;
      hold(null);
      return openOnce();
    }
  }

  /** One at a time: each begins with what the one before was given. */
  function open(change?: object): Promise<SiteProfile> {
    if (opening && !change) return opening;
    const begin = () => openOnce(change);
    const mine = Promise.resolve(opening)
      .then(begin, begin)
      .finally(() => {
        if (opening === mine) opening = undefined;
      });
    return (opening = mine);
  }

  /** Another one than `refused`, where there is one that lasts. */
  async function token(refused?: string): Promise<string> {
    const [held = refused, until] = current();
    if (held === refused || Number(until) - MARGIN_MS <= now()) await open();
    return current()[0] ?? "";
  }

  return { open, token, renew: token };
}
