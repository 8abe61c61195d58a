/** Entering as somebody the page knows. Loaded on pages that know their visitors, and on no other. */
import type { SiteProfile } from "@agent-engine/protocol/resources.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import type { VisitorCredentials } from "@agent-engine/sdk/visitor-session.ts";
import type { Identity } from "../widget-api.ts";

/** Where the identity is refused, the visitor stays who they were, and the page is told why. */
export async function enterAs(
  identity: Identity,
  credentials: VisitorCredentials,
  complain: (failure: unknown) => unknown,
): Promise<SiteProfile> {
  try {
    return await credentials.open({ identityToken: typeof identity === "string" ? identity : await identity() });
  } catch (error) {
    if ((error as AgentEngineError).isTransient) throw error;
    complain(error);
    return credentials.open();
  }
}
