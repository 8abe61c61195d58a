/**
 * A visitor's credential on one site: opened with the publishable key, renewed with the old token so that the visitor
 * stays the same person, kept across reloads.
 */
import type { SiteProfile, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { request, type Credentials, type HttpOptions } from "./http.ts";
import type { KeyValue } from "./key-value.ts";
import type { AgentEngineError } from "./problem.ts";

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
   * somebody new. Until it is done whoever asks for a token waits, unless there is one already.
   */
  open(change?: Wanted): Promise<SiteProfile>;
}

export interface SessionChange {
  identityToken?: string;
  reset?: true;
}
type Wanted = SessionChange | Promise<SessionChange>;

export function createVisitorSession(options: VisitorSessionOptions): VisitorCredentials {
  const { storage, publishableKey, now = Date.now } = options;
  /** The token and when it ends, with a blank between them. */
  let held: string | null = null;
  let opening: Promise<unknown> = Promise.resolve();
  /** How many are under way. */
  let under = 0;

  function hold(session: string | null): void {
    storage.set("session", (held = session));
  }

  // Read each time: another tab may hold a newer one. What storage does not take is kept here.
  const current = () => (storage.get("session") ?? held ?? "").split(" ");

  async function openOnce(wanted?: Wanted): Promise<SiteProfile> {
    const change = await wanted;
    const [visitorToken] = current();
    // Whatever becomes of the request, who has signed out is signed out here.
    if (change?.reset) hold(null);
    const body = { publishableKey, visitorToken: visitorToken || undefined, ...change };
    const session = await request<VisitorSession>(options, "/v1/visitor-sessions", { body }).catch((error: unknown) =>
      import("./refused-session.ts").then(
        (module) => module.recover(error as AgentEngineError, options, request, body),
        () => {
          throw error;
        },
      ),
    );
    // Meanwhile another tab may have become somebody.
    if (change || current()[0] === visitorToken) hold(`${session.visitorToken} ${Date.parse(session.expiresAt)}`);
    return session.site;
  }

  /** One at a time: each begins with what the one before was given. */
  function open(change?: Wanted): Promise<SiteProfile> {
    const begin = () => openOnce(change).finally(() => under--);
    if (change || !under) {
      under++;
      opening = opening.then(begin, begin);
    }
    return opening as Promise<SiteProfile>;
  }

  /** Another one than `refused`, where there is one that lasts. */
  async function token(refused?: string): Promise<string> {
    const [known, until] = current();
    if (!known || known === refused || Number(until) - MARGIN_MS <= now()) await open();
    return current()[0] as string;
  }

  return { open, token, renew: token };
}
