import type { ClientTool } from "./client-tool.ts";

/** A page on which the conversation is open, and all that it offers. */
export interface OfferingPage {
  pageId: string;
  tools: readonly ClientTool[];
}

export interface OfferedTool extends ClientTool {
  /** The one page that executes it. */
  pageId: string;
}

/** What pages offer, the newest page first. Of two that offer the same name the newer one counts. */
export function offeredTools(pages: readonly OfferingPage[]): OfferedTool[] {
  const byName = new Map<string, OfferedTool>();
  for (const { pageId, tools } of pages) {
    for (const tool of tools) if (!byName.has(tool.name)) byName.set(tool.name, { ...tool, pageId });
  }
  return [...byName.values()];
}
