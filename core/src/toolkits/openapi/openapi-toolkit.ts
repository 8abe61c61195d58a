/** Calls the operations of an OpenAPI document, by what was kept of it. One execution is one request, but for a token. */
import { createRedactor } from "../../secrets/without-secrets.ts";
import { failureOf } from "../failure-table.ts";
import { answerOf, sendHttp, type HttpReply } from "../http/http-call.ts";
import { classifyHttpFailure } from "../http/http-failure.ts";
import { BadPathArgument, type HttpRequest } from "../http/http-request.ts";
import type { DiscoveredTool, KindDeps } from "../toolkit-kind.ts";
import type { ToolAnswer, Toolkit, ToolRequest } from "../toolkit.ts";
import { accessToken, NoToken } from "./client-credentials.ts";
import type { OpenapiAuth, OpenapiSettings } from "./openapi-settings.ts";
import { BadArgument, operationRequest } from "./operation-request.ts";
import type { OpenapiTool, OperationCall } from "./operation-tool.ts";

export function openapiToolkit(
  name: string,
  settings: OpenapiSettings,
  tools: readonly DiscoveredTool[],
  { egress, now }: Pick<KindDeps, "egress" | "now">,
): Toolkit {
  const callable = new Map(tools.filter(isOpenapiTool).map((tool) => [tool.name, tool]));
  const { auth, timeoutMs, maxResponseBytes, idempotencyHeader } = settings;
  const [first] = callable.values();
  const baseUrl = settings.baseUrl ?? first?.call.baseUrl;
  const known = createRedactor(secretsOf(auth));

  async function execute({ call, effect }: OpenapiTool, request: ToolRequest): Promise<ToolAnswer> {
    const to = settings.baseUrl ?? call.baseUrl;
    if (to === null) return refusal("There is no address for this operation.");
    let prepared: HttpRequest;
    try {
      prepared = operationRequest(call, to, request.arguments);
    } catch (error) {
      if (error instanceof BadArgument || error instanceof BadPathArgument) return refusal(error.message);
      throw error;
    }
    const isRead = effect === "read";
    if (!isRead) prepared.headers[idempotencyHeader.toLowerCase()] = request.idempotencyKey;
    const attempt = async (token: string | null): Promise<{ reply: HttpReply; redactor: typeof known }> => {
      const redactor = token === null ? known : createRedactor([...secretsOf(auth), token]);
      const options = { egress, redactor, isRead, signal: request.signal, timeoutMs, maxResponseBytes };
      return { reply: await sendHttp(withCredentials(prepared, auth, token), options), redactor };
    };
    if (auth.type !== "oauth2_client_credentials") {
      const { reply } = await attempt(null);
      return answerOf(reply, known);
    }
    const token = await unlessAborted(accessToken(auth, egress, now), request.signal);
    let { reply, redactor } = await attempt(token);
    // Refused before anything was done, so that even a write may be sent again.
    if (reply.status === 401) {
      const renewed = await unlessAborted(accessToken(auth, egress, now, token), request.signal);
      if (renewed !== token) ({ reply, redactor } = await attempt(renewed));
    }
    return answerOf(reply, redactor);
  }

  return {
    name,
    host: baseUrl === undefined || baseUrl === null ? null : new URL(baseUrl).host,
    list: () => Promise.resolve(tools),
    describe: (wanted) => Promise.resolve(tools.find((tool) => tool.name === wanted) ?? null),
    execute(wanted, request) {
      const tool = callable.get(wanted);
      return tool ? execute(tool, request) : Promise.resolve(refusal("There is no such operation."));
    },
    classifyFailure(error) {
      if (error instanceof NoToken) {
        return failureOf(error.isRefused ? "tool.connection_expired" : "tool.connection_unreadable", error.message);
      }
      const failure = classifyHttpFailure(error, now());
      return { ...failure, detail: known.whole(failure.detail) };
    },
  };
}

function isOpenapiTool(tool: DiscoveredTool): tool is OpenapiTool {
  return "call" in tool && typeof (tool.call as Partial<OperationCall> | null)?.path === "string";
}

function refusal(error: string): ToolAnswer {
  return { content: { error }, isError: true };
}

/** The token is asked for by all who wait for it, so one who gives up does not end it. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new NoToken("There was no token before the deadline.", false));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function secretsOf(auth: OpenapiAuth): string[] {
  switch (auth.type) {
    case "none":
      return [];
    case "apiKey":
      return [auth.value];
    case "bearer":
      return [auth.token];
    case "basic":
      return [auth.password, basic(auth)];
    case "oauth2_client_credentials":
      return [auth.clientSecret];
  }
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function withCredentials(request: HttpRequest, auth: OpenapiAuth, token: string | null): HttpRequest {
  const url = new URL(request.url);
  const headers = { ...request.headers };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (auth.type === "bearer") headers.authorization = `Bearer ${auth.token}`;
  if (auth.type === "basic") headers.authorization = basic(auth);
  if (auth.type === "apiKey") {
    if (auth.in === "query") url.searchParams.set(auth.name, auth.value);
    else if (auth.in === "cookie") headers.cookie = `${auth.name}=${auth.value}`;
    else headers[auth.name.toLowerCase()] = auth.value;
  }
  return { ...request, url, headers };
}
