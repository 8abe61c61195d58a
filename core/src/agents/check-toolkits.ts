import type { AgentConfig, ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import { PAGE, PAGE_TOOL_NAME } from "../client-tools/client-tool.ts";
import { ProblemError } from "../errors.ts";
import { isMasked } from "../secrets/mask.ts";
import { BUILTIN_TOOLS, parseBuiltinSettings, unknownBuiltinTools } from "../toolkits/builtin/builtin-settings.ts";
import { BUILTIN } from "../toolkits/builtin/builtin-tool.ts";
import { parseHttpSettings } from "../toolkits/http/http-settings.ts";
import { mapSecretSettings } from "../toolkits/secret-settings.ts";
import { installedProblems, isInstalled, shortName } from "./installed-choices.ts";

/** Refuses toolkits that do not exist and settings that would not work, when they are written rather than in a run. */
export function checkToolkits(toolkits: AgentConfig["toolkits"]): void {
  const problems = toolkits.map(withoutMasks).flatMap((choice, index) => {
    const { toolkit, settings } = choice;
    if (toolkit === BUILTIN) return builtinProblems(choice).map((problem) => `toolkits[${index}].${problem}`);
    if (toolkit === PAGE) return pageProblems(choice, index, toolkits);
    if (isInstalled(choice))
      return installedProblems(choice).map((problem) => `toolkits[${index}].settings.${problem}`);
    if (toolkit !== "http") {
      return [
        `toolkits[${index}]: there is no toolkit ${JSON.stringify(toolkit)}; there are builtin, page, http and those that you installed, by id`,
      ];
    }
    return (parseHttpSettings(settings).problems ?? []).map((problem) => `toolkits[${index}].settings: ${problem}`);
  });
  if (problems.length > 0) throw new ProblemError("invalid_request", `${problems.join("; ")}.`);
}

/** Built-in tools are known by name: a policy for one that does not exist is a slip. */
function builtinProblems({ tools, settings }: ToolkitChoice): string[] {
  const unknown = unknownBuiltinTools(tools).map(
    (name) => `tools: there is no built-in tool ${JSON.stringify(name)}; there are ${BUILTIN_TOOLS.join(", ")}`,
  );
  return [...unknown, ...(parseBuiltinSettings(settings).problems ?? []).map((problem) => `settings: ${problem}`)];
}

/** Which tools there will be only their pages know: a name that no page could give one is a slip all the same. */
function pageProblems({ tools, settings }: ToolkitChoice, index: number, toolkits: readonly ToolkitChoice[]): string[] {
  const isSecond = toolkits.findIndex(({ toolkit }) => toolkit === PAGE) < index;
  const impossible = Object.keys(tools).filter((name) => !PAGE_TOOL_NAME.test(shortName(PAGE, name)));
  return [
    ...(isSecond ? [": the page's tools have their policies once"] : []),
    ...impossible.map((name) => `.tools: no page can have a tool ${JSON.stringify(name)}`),
    ...(Object.keys(settings).length > 0 ? [".settings: the page's tools have none"] : []),
  ].map((problem) => `toolkits[${index}]${problem}`);
}

/** A masked value stands for one that was checked when it was first written. */
function withoutMasks(choice: ToolkitChoice): ToolkitChoice {
  return mapSecretSettings(choice, (value) => (typeof value === "string" && isMasked(value) ? "masked" : value));
}
