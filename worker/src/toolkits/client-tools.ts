/** The tools of the pages on which the conversation is open: the model calls them, the visitor's browser executes them. */
import { PAGE, PAGE_KEPT_MS } from "@agent-engine/core/client-tools/client-tool.ts";
import type { OfferedTool } from "@agent-engine/core/client-tools/offered-tools.ts";
import { BadSchema, firstProblemCheck } from "@agent-engine/core/toolkits/argument-check.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { toolName } from "@agent-engine/core/toolkits/tool-name.ts";
import type { AgentConfig, ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import type { BoundTool } from "../engine/bound-tool.ts";
import { toolPolicy } from "./tool-policy.ts";

/** Of all pages together: what a model reads before each of its answers. */
const MAX_TOOLS = 20;
/** An agent that says nothing of its pages' tools may call them all. */
const ALL: PageChoice = { tools: {}, defaultPolicy: "auto" };

type PageChoice = Pick<ToolkitChoice, "tools" | "defaultPolicy" | "approvals">;

/** What an agent says of its pages' tools. */
export function pageChoice(toolkits: AgentConfig["toolkits"]): PageChoice {
  return toolkits.find(({ toolkit }) => toolkit === PAGE) ?? ALL;
}

/** `taken`: the names of the agent's other tools, which no page replaces. */
export function bindClientTools(
  offered: readonly OfferedTool[],
  taken: ReadonlySet<string>,
  choice: PageChoice,
): BoundTool[] {
  const tools = offered.flatMap((tool) => {
    const name = toolName(PAGE, tool.name);
    const policy = toolPolicy(choice, name, tool.name);
    if (policy === "off" || taken.has(name)) return [];
    const checkArguments = checkOf(tool);
    if (!checkArguments) return [];
    const { approvals } = choice;
    return [{ ...bound(name, tool, checkArguments), policy, ...(approvals ? { approval: approvals } : {}) }];
  });
  return tools.slice(0, MAX_TOOLS);
}

function checkOf({ parameters }: OfferedTool): BoundTool["checkArguments"] | null {
  try {
    return firstProblemCheck(parameters);
  } catch (error) {
    if (error instanceof BadSchema) return null;
    throw error;
  }
}

function bound(
  name: string,
  tool: OfferedTool,
  checkArguments: BoundTool["checkArguments"],
): Omit<BoundTool, "policy"> {
  const { pageId, description, parameters, resultSchema } = tool;
  return {
    description: {
      name,
      description,
      parameters,
      // One after the other, and never twice: what a page does is not known here.
      effect: "write",
      scopes: [],
      connection: "none",
      visibility: { arguments: true, results: true },
    },
    toolkit: PAGE,
    host: null,
    deadlineMs: PAGE_KEPT_MS,
    checkArguments,
    ask: (invocation) => ({
      message: "The assistant waits for the page.",
      metadata: { kind: "client_tool", pageId, tool: tool.name, arguments: invocation.arguments },
      ...(resultSchema ? { responseSchema: resultSchema } : {}),
      expiresInMs: PAGE_KEPT_MS,
    }),
    call: () => Promise.reject(new Error("the visitor's browser makes this call")),
    classifyFailure: (error) => failureOf("tool.unknown", String(error)),
  };
}
