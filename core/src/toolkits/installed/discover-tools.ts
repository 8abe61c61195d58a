import { createHash } from "node:crypto";
import type { Ctx } from "../../context.ts";
import { ProblemError } from "../../errors.ts";
import { badSchema } from "../argument-check.ts";
import { TOOL_NAME } from "../tool-name.ts";
import type { ConnectedAccount, DiscoveredTool, KindDeps, ToolkitKind } from "../toolkit-kind.ts";
import { applyOverrides, overridesOf } from "./overrides.ts";
import type { StoredTool, ToolkitId } from "./toolkit-rows.ts";

/** Whoever installs a toolkit waits for it. */
const DISCOVERY_MS = 15_000;
const MAX_TOOLS = 500;
/** A tool's schema is sent with every question to the model. */
const MAX_PARAMETERS_LENGTH = 50_000;

export interface FoundTools {
  tools: StoredTool[];
  problems: string[];
}

/**
 * Asks the other side what there is, and leaves out what no model could use.
 * @throws ProblemError `invalid_request` or `unavailable`, saying what to do
 */
export async function discoverTools(
  ctx: Ctx,
  deps: KindDeps,
  kind: ToolkitKind,
  toolkit: { id: ToolkitId; name: string },
  settings: Record<string, unknown>,
  account: ConnectedAccount | null = null,
): Promise<FoundTools> {
  const parsed = kind.parse(settings);
  if (parsed.problems) throw new ProblemError("invalid_request", `settings: ${parsed.problems.join("; ")}.`);
  const found = await kind
    .discover(toolkit.name, parsed.settings, deps, AbortSignal.timeout(DISCOVERY_MS), account)
    .catch((error: unknown) => {
      if (error instanceof ProblemError) throw error;
      ctx.services.log.warn({ err: error, kind: kind.kind, toolkitId: toolkit.id }, "a toolkit could not be asked");
      throw new ProblemError(
        "invalid_request",
        "What the toolkit's settings name did not answer as it should. Check the address and the credentials.",
        { cause: error },
      );
    });
  const overrides = overridesOf(settings);
  const problems = [...found.problems];
  const tools: StoredTool[] = [];
  for (const discovered of found.tools) {
    const problem = problemOf(discovered, tools);
    if (problem === null) tools.push({ ...applyOverrides(discovered, overrides), id: toolId(toolkit.id, discovered) });
    else problems.push(`${discovered.remote}: left out: ${problem}`);
  }
  const unknown = Object.keys(overrides).filter(
    (name) => !found.tools.some((tool) => tool.remote === name || tool.name === name),
  );
  for (const name of unknown) problems.push(`overrides.${name}: there is no such tool`);
  return { tools, problems };
}

function problemOf(tool: DiscoveredTool, before: readonly StoredTool[]): string | null {
  if (before.length >= MAX_TOOLS) return `more than ${MAX_TOOLS} tools; name the ones that you need`;
  if (!TOOL_NAME.test(tool.name)) return "its name is not valid for every model";
  if (before.some(({ name }) => name === tool.name)) return "another tool has the same name";
  if (JSON.stringify(tool.parameters).length > MAX_PARAMETERS_LENGTH) return "its parameters are longer than 50 kB";
  return badSchema(tool.parameters)?.message ?? null;
}

/** The same for the same tool in every revision. */
function toolId(toolkitId: ToolkitId, { remote }: DiscoveredTool): string {
  const hash = createHash("sha256").update(`${toolkitId}\n${remote}`).digest("hex");
  return `tool_${hash.slice(0, 32)}`;
}
