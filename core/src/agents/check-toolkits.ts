import type { AgentConfig, ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import { ProblemError } from "../errors.ts";
import { isMasked } from "../secrets/mask.ts";
import { parseHttpSettings } from "../toolkits/http/http-settings.ts";
import { mapSecretSettings } from "../toolkits/secret-settings.ts";

/** Refuses toolkits that do not exist and settings that would not work, when they are written rather than in a run. */
export function checkToolkits(toolkits: AgentConfig["toolkits"]): void {
  const problems = toolkits.map(withoutMasks).flatMap(({ toolkit, settings }, index) => {
    if (toolkit !== "http")
      return [`toolkits[${index}]: there is no toolkit ${JSON.stringify(toolkit)}; there is http`];
    return (parseHttpSettings(settings).problems ?? []).map((problem) => `toolkits[${index}].settings: ${problem}`);
  });
  if (problems.length > 0) throw new ProblemError("invalid_request", `${problems.join("; ")}.`);
}

/** A masked value stands for one that was checked when it was first written. */
function withoutMasks(choice: ToolkitChoice): ToolkitChoice {
  return mapSecretSettings(choice, (value) => (typeof value === "string" && isMasked(value) ? "masked" : value));
}
