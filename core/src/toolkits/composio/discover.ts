/** Which tools a toolkit of Composio has, in one version, as models can be given them. */
import { ProblemError } from "../../errors.ts";
import { repairSchema } from "../schema/repair-schema.ts";
import { toolName } from "../tool-name.ts";
import type { ConnectionNeed } from "../toolkit.ts";
import type { Discovered, DiscoveredTool, KindDeps } from "../toolkit-kind.ts";
import { openComposio, type ComposioApi } from "./composio-client.ts";
import { refusalOf } from "./composio-failure.ts";
import type { ComposioSettings } from "./composio-settings.ts";
import { effectOf } from "./effect-of.ts";
import { withGivenFiles, type FilePath } from "./file-parameters.ts";

/** What is needed to call a tool as it was found. */
export interface ComposioDetails {
  version: string;
  /** Where in its arguments a file is. */
  files: FilePath[];
}

type Tool = Awaited<ReturnType<ComposioApi["tools"]["list"]>>["items"][number];

const PAGE = 200;
const MAX_TOOLS = 500;
const MAX_DESCRIPTION = 2_000;

/** The installation's account. @throws ProblemError `unavailable` */
export function accessOf({ composio }: Pick<KindDeps, "composio">): NonNullable<KindDeps["composio"]> {
  if (composio) return composio;
  throw new ProblemError("unavailable", "This installation has no account at Composio: set COMPOSIO_API_KEY.");
}

/** @throws ProblemError `invalid_request` or `unavailable`, saying what to do */
export async function discoverComposio(
  name: string,
  settings: ComposioSettings,
  deps: KindDeps,
  signal: AbortSignal,
): Promise<Discovered> {
  const api = await openComposio(accessOf(deps));
  const toolkit = await asked(api.toolkits.retrieve(settings.toolkit, {}, { signal }), (status) =>
    status === 404 ? `There is no toolkit ${settings.toolkit} at Composio. The catalogue lists what there is.` : null,
  );
  const version = versionOf(settings, toolkit.meta);
  const problems: string[] = [];
  const isManaged = (toolkit.composio_managed_auth_schemes ?? []).length > 0;
  if (settings.connections !== "none" && !isManaged && settings.authConfigId === undefined) {
    problems.push(
      "Composio has no managed sign-in for it: make an auth config at Composio and name it in authConfigId",
    );
  }
  const found = await asked(listTools(api, settings, version, signal), () => null);
  const tools: DiscoveredTool[] = [];
  for (const tool of found) {
    const described = describe(name, settings, tool, version);
    if ("problem" in described) problems.push(`${tool.slug}: left out: ${described.problem}`);
    else {
      tools.push(described.tool);
      problems.push(...described.notes.map((note) => `${tool.slug}: ${note}`));
    }
  }
  for (const slug of settings.tools ?? []) {
    if (!found.some((tool) => tool.slug === slug))
      problems.push(`${slug}: there is no such tool in version ${version}`);
  }
  if (found.length >= MAX_TOOLS)
    problems.push(`only the first ${MAX_TOOLS} tools are listed: name the ones you need in tools`);
  return { tools, problems };
}

function versionOf(settings: ComposioSettings, meta: { version?: string; available_versions?: string[] }): string {
  const { version: wanted, toolkit } = settings;
  const available = meta.available_versions ?? [];
  const newest = meta.version ?? available.toSorted().at(-1);
  if (wanted !== undefined && available.length > 0 && !available.includes(wanted)) {
    throw new ProblemError(
      "invalid_request",
      `settings.version: Composio has no ${wanted} of ${toolkit}. The newest is ${newest}.`,
    );
  }
  const version = wanted ?? newest;
  if (version === undefined || version === "latest") {
    throw new ProblemError("invalid_request", `settings.version: Composio names no version of ${toolkit}. Name one.`);
  }
  return version;
}

async function listTools(
  api: ComposioApi,
  settings: ComposioSettings,
  version: string,
  signal: AbortSignal,
): Promise<Tool[]> {
  const tools: Tool[] = [];
  let cursor: string | null | undefined;
  do {
    const page = await api.tools.list(
      {
        toolkit_slug: settings.toolkit,
        toolkit_versions: { [settings.toolkit]: version },
        ...(settings.tools ? { tool_slugs: settings.tools.join(",") } : { important: "true" as const }),
        limit: PAGE,
        ...(cursor ? { cursor } : {}),
      },
      { signal },
    );
    // A filter that the other side does not know must not let in what was not asked for.
    const own = page.items.filter(
      ({ slug, toolkit }) => toolkit.slug === settings.toolkit && (settings.tools?.includes(slug) ?? true),
    );
    tools.push(...own);
    cursor = page.next_cursor;
  } while (cursor && tools.length < MAX_TOOLS);
  return tools.slice(0, MAX_TOOLS);
}

function describe(
  name: string,
  settings: ComposioSettings,
  tool: Tool,
  version: string,
): { tool: DiscoveredTool; notes: string[] } | { problem: string } {
  const connection: ConnectionNeed = tool.no_auth ? "none" : settings.connections;
  if (!tool.no_auth && connection === "none") return { problem: "it acts with an account, and connections is none" };
  const { schema: given, paths } = withGivenFiles(tool.input_parameters);
  const repaired = repairSchema(given);
  if ("problem" in repaired) return repaired;
  const details: ComposioDetails = { version, files: paths };
  return {
    notes: repaired.notes,
    tool: {
      name: toolName(name, shortName(settings.toolkit, tool.slug)),
      remote: tool.slug,
      description: (tool.description || tool.name || tool.slug).slice(0, MAX_DESCRIPTION),
      parameters: repaired.schema,
      effect: effectOf(tool.tags ?? []),
      scopes: tool.scopes ?? [],
      connection,
      visibility: { arguments: false, results: false },
      details: { ...details },
    },
  };
}

/** `GMAIL_SEND_EMAIL` of `gmail` is `send_email`: the namespace says the rest. */
function shortName(toolkit: string, slug: string): string {
  const prefix = `${toolkit.toUpperCase()}_`;
  return (slug.startsWith(prefix) ? slug.slice(prefix.length) : slug).toLowerCase();
}

/** @throws ProblemError in words for whoever installs the toolkit */
async function asked<Answer>(answer: Promise<Answer>, explain: (status: number) => string | null): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    const refused = refusalOf(error);
    const words = refused ? explain(refused.status) : null;
    if (words !== null) throw new ProblemError("invalid_request", words, { cause: error });
    if (refused && refused.status >= 400 && refused.status < 500 && ![401, 403, 408, 429].includes(refused.status)) {
      throw new ProblemError("invalid_request", `Composio refused: ${refused.message.slice(0, 300)}`, { cause: error });
    }
    throw new ProblemError("unavailable", "Composio does not answer as it should. Try again in a while.", {
      cause: error,
    });
  }
}
