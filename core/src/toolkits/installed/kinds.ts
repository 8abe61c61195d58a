/** The kinds that can be installed. Each is loaded when it is first needed: an idle process holds none of them. */
import type { ToolkitKind, ToolkitKindName } from "../toolkit-kind.ts";

const LOADERS: Record<ToolkitKindName, () => Promise<ToolkitKind>> = {
  http: async () => (await import("../http/http-kind.ts")).httpKind,
  openapi: async () => (await import("../openapi/openapi-kind.ts")).openapiKind,
  mcp: async () => (await import("../mcp/mcp-kind.ts")).mcpKind,
  composio: async () => (await import("../composio/composio-kind.ts")).composioKind,
};

export function kindOf(name: ToolkitKindName): Promise<ToolkitKind> {
  return LOADERS[name]();
}
