/** Tools of an MCP server. One execution is one `tools/call`: nothing is retried here. */
import { createHash } from "node:crypto";
import { createRedactor, type Redactor } from "../../secrets/without-secrets.ts";
import type { ConnectedAccount, DiscoveredTool, KindDeps, ToolkitKind, ToolsChanged } from "../toolkit-kind.ts";
import type { ToolAnswer, Toolkit, ToolRequest } from "../toolkit.ts";
import { contentOf, cutText } from "./mcp-content.ts";
import { discoverMcpTools } from "./mcp-discover.ts";
import {
  classifyMcpFailure,
  isRefusal,
  McpAnswerTooLarge,
  McpNotConnected,
  McpRefused,
  rpcCodes,
} from "./mcp-failure.ts";
import { mcpConnector } from "./mcp-oauth.ts";
import { accessTokenOf } from "./mcp-oauth-secret.ts";
import { openSession, type CallResult } from "./mcp-session.ts";
import { createSessions } from "./mcp-sessions.ts";
import { mapMcpSecrets, parseMcpSettings, secretHeaderValues, type McpSettings } from "./mcp-settings.ts";

/** Of a session after its last call: long enough for the model to ask for the next. */
const IDLE_MS = 30_000;

export const mcpKind: ToolkitKind<McpSettings> = {
  kind: "mcp",
  parse: parseMcpSettings,
  mapSecrets: mapMcpSecrets,
  discover: (name, settings, deps, signal, account) =>
    discoverMcpTools(name, settings, deps, signal, account ? accessTokenOf(account.secret) : null),
  open: mcpToolkit,
  connector: mcpConnector,
};

export function mcpToolkit(
  name: string,
  settings: McpSettings,
  tools: readonly DiscoveredTool[],
  deps: KindDeps,
  idleMs: number = IDLE_MS,
): Toolkit {
  const known = new Map(tools.map((tool) => [tool.name, tool]));
  const sessions = createSessions({ idleMs, openMs: settings.timeoutMs });
  const redactor = createRedactor(secretHeaderValues(settings));
  const onToolsChanged = (how: ToolsChanged) => {
    deps.log.info({ toolkit: name, how }, "the tools of an MCP server have changed");
    deps.onToolsChanged?.(how);
  };
  const onAnnounced = () => onToolsChanged("announced");

  async function execute(tool: DiscoveredTool, request: ToolRequest): Promise<ToolAnswer> {
    const token = tokenFor(settings, request);
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(settings.timeoutMs)]);
    const clean = token === null ? redactor : createRedactor([...secretHeaderValues(settings), token]);
    try {
      const result = await sessions.use(
        sessionKey(request, token),
        (opening) => openSession({ settings, token, egress: deps.egress, onToolsChanged: onAnnounced }, opening),
        signal,
        (session) =>
          session.call({
            tool: tool.remote,
            arguments: request.arguments,
            idempotencyKey: tool.effect === "read" ? null : request.idempotencyKey,
            signal,
            onProgress: request.onProgress && ((text) => request.onProgress?.(clean.whole(cutText(text, 500)))),
          }),
      );
      return answerOf(result, settings.maxResultBytes, clean);
    } catch (error) {
      if (isToolGone(error)) onToolsChanged("gone");
      if (isRefusal(error)) return { content: { error: clean.whole(error.message) }, isError: true };
      if (error instanceof McpAnswerTooLarge && tool.effect === "read") {
        return { content: { error: error.message }, isError: true };
      }
      throw error;
    }
  }

  return {
    name,
    host: new URL(settings.url).host,
    list: () => Promise.resolve(tools),
    describe: (tool) => Promise.resolve(known.get(tool) ?? null),
    execute(toolNamed, request) {
      const tool = known.get(toolNamed);
      if (!tool) return Promise.resolve({ content: { error: "There is no such tool." }, isError: true });
      return execute(tool, request);
    },
    classifyFailure(error) {
      const failure = classifyMcpFailure(error, deps.now());
      return { ...failure, detail: redactor.whole(failure.detail) };
    },
    close: () => sessions.close(),
  };
}

/** Never shared between runs, so never between visitors; a new token is a new session. */
function sessionKey({ context, connection }: ToolRequest, token: string | null): string {
  const hash = token === null ? "" : createHash("sha256").update(token).digest("hex");
  return [context.tenantId, context.runId, connection?.id ?? "", hash].join(" ");
}

function tokenFor(settings: McpSettings, { connection }: ToolRequest): string | null {
  if (settings.connections === "none") return null;
  const { secret } = (connection?.credential ?? {}) as Partial<ConnectedAccount>;
  const token = accessTokenOf(secret ?? null);
  if (token === null) throw new McpNotConnected();
  return token;
}

/** JSON may spell a secret in ways of its own, so it is looked at as it is written here. */
function answerOf(result: CallResult, maxBytes: number, clean: Redactor): ToolAnswer {
  const read = contentOf(result, maxBytes);
  const content =
    typeof read === "string"
      ? clean.cut(clean.whole(read))
      : (JSON.parse(clean.whole(JSON.stringify(read))) as unknown);
  return result.isError === true ? { content: { error: content }, isError: true } : { content };
}

/** Servers have no code for it: the protocol says "invalid params", or no such method. */
function isToolGone(error: unknown): boolean {
  if (!(error instanceof McpRefused)) return false;
  if (error.code === rpcCodes.noSuchMethod) return true;
  return error.code === rpcCodes.invalidParams && /unknown tool|not found|disabled|no such tool/i.test(error.message);
}
