/** The tools of the pages on which the conversation is open: the model calls them, the visitor's browser executes them. */
import { PAGE, PAGE_KEPT_MS } from "@agent-engine/core/client-tools/client-tool.ts";
import type { OfferedTool } from "@agent-engine/core/client-tools/offered-tools.ts";
import { argumentCheck, BadSchema } from "@agent-engine/core/toolkits/argument-check.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { toolName } from "@agent-engine/core/toolkits/tool-name.ts";
import type { BoundTool } from "../engine/bound-tool.ts";

/** `taken`: the names of the agent's other tools, which no page replaces. */
export function bindClientTools(offered: readonly OfferedTool[], taken: ReadonlySet<string>): BoundTool[] {
  return offered.flatMap((tool) => {
    const name = toolName(PAGE, tool.name);
    if (taken.has(name)) return [];
    const checkArguments = checkOf(tool);
    return checkArguments ? [bound(name, tool, checkArguments)] : [];
  });
}

function checkOf({ parameters }: OfferedTool): BoundTool["checkArguments"] | null {
  try {
    return argumentCheck(parameters);
  } catch (error) {
    if (error instanceof BadSchema) return null;
    throw error;
  }
}

function bound(name: string, tool: OfferedTool, checkArguments: BoundTool["checkArguments"]): BoundTool {
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
    policy: "auto",
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
