import type { JsonSchema } from "../toolkits/toolkit.ts";

/** What a page's own code can do for the model: it runs in the visitor's browser. */
export interface ClientTool {
  /** As the page registered it. */
  name: string;
  description: string;
  parameters: JsonSchema;
  /** What its answer must fit, where the page says so. */
  resultSchema?: JsonSchema;
}

/** The namespace of pages' tools, and what an agent calls them among its toolkits. */
export const PAGE = "page";

/** With the namespace before it, it is a valid name for every model provider. */
export const PAGE_TOOL_NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,57}$/;

/** How long a page is taken to be there after it last said so; it says so every 25 s. */
export const PAGE_KEPT_MS = 60_000;
