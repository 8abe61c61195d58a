import { badSchema, firstProblemCheck } from "../toolkits/argument-check.ts";
import { repairSchema } from "../toolkits/schema/repair-schema.ts";
import { PAGE_TOOL_NAME, type ClientTool } from "./client-tool.ts";
import { unsafePart } from "./result-schema.ts";

/** A tool that is not offered, as the page named it, and why. */
export interface ClientToolProblem {
  tool: string;
  problem: string;
}

export interface CheckedClientTools {
  /** Good ones, with parameters that every model provider takes. */
  tools: ClientTool[];
  problems: ClientToolProblem[];
}

const MAX_TOOLS = 20;
/** Of all of them together, as JSON. */
const MAX_LENGTH = 64_000;
/** Of what is looked at, good or bad: schemas are compiled for it. */
const MAX_LOOKED_AT = 2 * MAX_LENGTH;
const MAX_DESCRIPTION_LENGTH = 1_000;
const TOO_MUCH = `with it, the page's tools would be longer than ${MAX_LENGTH} characters of JSON; describe less`;

/** One tool that cannot be offered takes nothing from the others: its developer reads why. */
export function checkClientTools(given: readonly ClientTool[]): CheckedClientTools {
  const tools: ClientTool[] = [];
  const problems: ClientToolProblem[] = [];
  let length = 0;
  let lookedAt = 0;
  for (const tool of given) {
    const own = JSON.stringify(tool).length;
    const hasRoom = length + own <= MAX_LENGTH && lookedAt + own <= MAX_LOOKED_AT;
    if (hasRoom) lookedAt += own;
    const checked = hasRoom ? checkTool(tool, tools) : { problem: TOO_MUCH };
    if ("problem" in checked) problems.push({ tool: tool.name, problem: checked.problem });
    else {
      tools.push(checked);
      length += own;
    }
  }
  return { tools, problems };
}

function checkTool(tool: ClientTool, before: readonly ClientTool[]): ClientTool | { problem: string } {
  const { name, description, parameters, resultSchema } = tool;
  if (!PAGE_TOOL_NAME.test(name))
    return { problem: "its name must be a letter, then letters, digits, _ or -, 58 at most" };
  if (before.some((other) => other.name === name)) return { problem: "another tool of the page has this name" };
  if (before.length === MAX_TOOLS) return { problem: `a page offers ${MAX_TOOLS} tools at most` };
  if (description.trim() === "") return { problem: "its description is empty; it tells the model when to use it" };
  if (description.length > MAX_DESCRIPTION_LENGTH) {
    return { problem: `its description is longer than ${MAX_DESCRIPTION_LENGTH} characters` };
  }
  const repaired = repairSchema(parameters);
  if ("problem" in repaired) return { problem: `parameters: ${repaired.problem}` };
  const unusable = resultSchema && (unsafePart(resultSchema) ?? badSchema(resultSchema, firstProblemCheck)?.why);
  if (unusable) return { problem: `resultSchema: ${unusable}` };
  return { ...tool, parameters: repaired.schema };
}
