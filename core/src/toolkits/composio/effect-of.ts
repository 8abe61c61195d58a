import type { ToolEffect } from "../toolkit.ts";

/** By the hints of MCP that Composio gives as tags; what is not said to be harmless is a write. */
export function effectOf(tags: readonly string[]): ToolEffect {
  if (tags.includes("destructiveHint")) return "write";
  if (tags.includes("readOnlyHint")) return "read";
  return tags.includes("idempotentHint") ? "idempotent" : "write";
}
