/** Asks an MCP server for its tools, and says what of them a model can use. */
import { z } from "zod";
import { ProblemError } from "../../errors.ts";
import { repairSchema } from "../schema/repair-schema.ts";
import type { Discovered, DiscoveredTool, KindDeps } from "../toolkit-kind.ts";
import { toolName } from "../tool-name.ts";
import type { ToolEffect } from "../toolkit.ts";
import { classifyMcpFailure, McpHttpError, McpNotOpened } from "./mcp-failure.ts";
import { openSession, type McpSession } from "./mcp-session.ts";
import type { McpSettings } from "./mcp-settings.ts";

const MAX_PAGES = 50;
const MAX_TOOLS = 1_000;
const MAX_DESCRIPTION_LENGTH = 2_000;

const tool = z.object({
  name: z.string().min(1).max(300),
  title: z.string().optional(),
  description: z.string().optional(),
  inputSchema: z.unknown().optional(),
  annotations: z
    .object({
      title: z.string().optional(),
      readOnlyHint: z.boolean().optional(),
      idempotentHint: z.boolean().optional(),
    })
    .optional()
    .catch(undefined),
});

/** @throws ProblemError `invalid_request` or `unavailable` */
export async function discoverMcpTools(
  name: string,
  settings: McpSettings,
  deps: Pick<KindDeps, "egress" | "now">,
  signal: AbortSignal,
  token: string | null,
): Promise<Discovered> {
  let session: McpSession | null = null;
  try {
    session = await openSession({ settings, token, egress: deps.egress, onToolsChanged: () => {} }, signal);
    return read(name, settings, await listAll(session, signal));
  } catch (error) {
    if (settings.connections !== "none" && isUnauthorized(error)) {
      const problem = "The server shows its tools to a connected account only. Connect one, then refresh the toolkit.";
      return { tools: [], problems: [problem] };
    }
    throw problemOf(error, deps.now());
  } finally {
    await session?.close();
  }
}

async function listAll(session: McpSession, signal: AbortSignal): Promise<unknown[]> {
  const tools: unknown[] = [];
  const seen = new Set<string>();
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES && tools.length < MAX_TOOLS; page++) {
    const { tools: more, nextCursor } = await session.listTools(cursor, signal);
    tools.push(...more);
    // A server that names a page twice would be asked for ever.
    if (nextCursor === undefined || seen.has(nextCursor)) break;
    seen.add(nextCursor);
    cursor = nextCursor;
  }
  return tools.slice(0, MAX_TOOLS);
}

function read(name: string, settings: McpSettings, listed: readonly unknown[]): Discovered {
  const tools: DiscoveredTool[] = [];
  const problems: string[] = [];
  const wanted = settings.tools ? new Set(settings.tools) : null;
  for (const [index, value] of listed.entries()) {
    const parsed = tool.safeParse(value);
    if (!parsed.success) {
      problems.push(`Tool ${index + 1} of the server's list: left out: it is not described as the protocol says.`);
      continue;
    }
    const found = parsed.data;
    if (wanted && !wanted.delete(found.name)) continue;
    const repaired = repairSchema(found.inputSchema ?? { type: "object" });
    if ("problem" in repaired) {
      problems.push(`${found.name}: left out: ${repaired.problem}`);
      continue;
    }
    problems.push(...repaired.notes.map((note) => `${found.name}: ${note}`));
    tools.push({
      remote: found.name,
      name: toolName(name, found.name),
      description: descriptionOf(found),
      parameters: repaired.schema,
      effect: effectOf(found),
      scopes: [],
      connection: settings.connections,
      visibility: { arguments: false, results: false },
    });
  }
  for (const missing of wanted ?? []) problems.push(`${missing}: the server has no tool of this name.`);
  return { tools, problems };
}

function descriptionOf({ name, title, description, annotations }: z.output<typeof tool>): string {
  const text = description?.trim() || title?.trim() || annotations?.title?.trim() || name;
  return text.length <= MAX_DESCRIPTION_LENGTH ? text : `${text.slice(0, MAX_DESCRIPTION_LENGTH)} …`;
}

/** What the server says of itself; whoever installs it can say otherwise. */
function effectOf({ annotations }: z.output<typeof tool>): ToolEffect {
  if (annotations?.readOnlyHint === true) return "read";
  return annotations?.idempotentHint === true ? "idempotent" : "write";
}

export function isUnauthorized(error: unknown): boolean {
  const cause = error instanceof McpNotOpened ? error.cause : error;
  return cause instanceof McpHttpError && cause.status === 401;
}

function problemOf(error: unknown, nowMs: number): ProblemError {
  const { kind, detail } = classifyMcpFailure(error, nowMs);
  const isLater = kind === "transient" || kind === "unknown_outcome";
  const advice = isUnauthorized(error)
    ? "Give it a credential in `headers`, or let accounts be connected by `connections`."
    : "Check the address: it is the server's one MCP endpoint, often ending in /mcp or /sse.";
  return isLater
    ? new ProblemError("unavailable", `The MCP server could not be asked (${detail}). Try again later.`, {
        cause: error,
      })
    : new ProblemError("invalid_request", `The MCP server refused (${detail}). ${advice}`, { cause: error });
}
