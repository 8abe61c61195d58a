/** What to do when no session was opened. Loaded when it is needed, which is hardly ever; imports nothing that is not. */
import type { VisitorSession } from "@agent-engine/protocol/resources.ts";
import type { HttpOptions, request } from "./http.ts";
import type { AgentEngineError } from "./problem.ts";
import { solve } from "./proof-of-work.ts";

export interface SessionBody {
  publishableKey: string;
  visitorToken?: string | undefined;
  identityToken?: string;
  reset?: true;
  proof?: { challenge: string; solution: string };
}

const PATH = "/v1/visitor-sessions";

/** The session after all; rejects with `error` where nothing helps. */
export async function recover(
  error: AgentEngineError,
  http: HttpOptions,
  send: typeof request,
  body: SessionBody,
): Promise<VisitorSession> {
  if (error.code === "challenge_required" && !body.proof) {
    return send(http, PATH, { body: { ...body, proof: await prove(error, http, body) } });
  }
  // The old token may be past any renewal: begin as a new visitor rather than never again.
  if (error.status !== 401 || !body.visitorToken || body.identityToken || body.reset) throw error;
  const anew = { publishableKey: body.publishableKey };
  return send<VisitorSession>(http, PATH, { body: anew }).catch((again: AgentEngineError) =>
    recover(again, http, send, anew),
  );
}

/** The challenge is in the problem itself, of which an error holds the sentence only: it is asked for again. */
async function prove(error: AgentEngineError, http: HttpOptions, body: SessionBody): Promise<SessionBody["proof"]> {
  const { fetch: ask = fetch } = http;
  const headers = { "content-type": "application/json" };
  const { challenge, difficulty } = await ask(http.baseUrl + PATH, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
  }).then(
    (response) => response.json() as Promise<{ challenge?: string; difficulty?: number }>,
    () => Promise.reject(error),
  );
  if (!challenge || !difficulty) throw error;
  return { challenge, solution: await solve(challenge, difficulty) };
}
