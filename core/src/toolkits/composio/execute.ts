/** One call of one tool: one request, with an account that our own tables name. */
import type { ToolAnswer, ToolRequest } from "../toolkit.ts";
import type { DiscoveredTool, KindDeps } from "../toolkit-kind.ts";
import { answerOf } from "./composio-answer.ts";
import { openComposio } from "./composio-client.ts";
import { ComposioUnsettled, refusalOf, rowOfRefusal } from "./composio-failure.ts";
import { AnswerTooLarge } from "./composio-fetch.ts";
import { accessOf, type ComposioDetails } from "./discover.ts";
import { changeAt } from "./file-parameters.ts";
import { BadFile, uploadFile, withFiles } from "./files.ts";
import { readable } from "./readable-result.ts";

const TOO_LARGE = "The answer was too large to read. Ask for less: fewer items, fewer fields, a narrower search.";

interface Caller {
  user_id: string;
  connected_account_id?: string;
}

/** Whose account: what our tables say of the connection, whatever the arguments hold. */
function callerOf(tool: DiscoveredTool, { connection, context }: ToolRequest): Caller {
  if (tool.connection === "none") return { user_id: `tenant:${context.tenantId}` };
  const { account, ownerKey } = (connection?.credential ?? {}) as { account?: unknown; ownerKey?: unknown };
  const id = (account as { connectedAccountId?: unknown } | undefined)?.connectedAccountId;
  if (typeof id !== "string" || typeof ownerKey !== "string") {
    throw new ComposioUnsettled("tool.not_connected", "The connection names no account at Composio.");
  }
  return { user_id: ownerKey, connected_account_id: id };
}

/** @throws what `classifyComposioFailure` knows */
export async function executeComposio(
  tool: DiscoveredTool,
  toolkitSlug: string,
  request: ToolRequest,
  deps: KindDeps,
): Promise<ToolAnswer> {
  const { version, files } = tool.details as unknown as ComposioDetails;
  const caller = callerOf(tool, request);
  const { signal } = request;
  const api = await openComposio(accessOf(deps));
  try {
    let args: unknown = request.arguments;
    for (const path of files) {
      const target = { toolSlug: tool.remote, toolkitSlug };
      args = await changeAt(args, path, (file) => uploadFile(file, target, api, deps.egress, signal));
    }
    const timeout = Math.max(1_000, request.deadline - deps.now());
    const body = { ...caller, arguments: args as Record<string, unknown>, version };
    const executed = await api.tools.execute(tool.remote, body, { signal, timeout });
    const answer = answerOf({ ...executed, data: await withFiles(executed?.data, deps.egress) }, tool.effect);
    return answer;
  } catch (error) {
    if (error instanceof BadFile) return { content: { error: error.message }, isError: true };
    const refused = refusalOf(error);
    const isTooLarge = error instanceof AnswerTooLarge || refused?.status === 413;
    if (isTooLarge && tool.effect === "read") return { content: { error: TOO_LARGE }, isError: true };
    if (!refused || rowOfRefusal(refused) !== null) throw error;
    const { status, message, advice } = refused;
    if (status === 401 || status === 403)
      deps.log.error({ status, toolkitSlug }, "Composio refuses this installation's key");
    return { content: readable({ status, error: message, ...(advice === null ? {} : { advice }) }), isError: true };
  }
}
