/** The built-in search over the tenant's documents. */
import { toolName } from "../tool-name.ts";
import type { ToolDescription, Toolkit, ToolSource } from "../toolkit.ts";
import { failureOf } from "../failure-table.ts";

export type SearchKnowledge = (input: { query: string; limit: number }) => Promise<readonly ToolSource[]>;

const MAX_QUERY_LENGTH = 500;

const search: ToolDescription = {
  name: toolName("knowledge", "search"),
  description:
    "Searches the documents of this business: products, policies, prices, opening hours and anything else it has " +
    "written down. Returns numbered passages. Use the visitor's own words; search again with other words when the " +
    "passages do not answer the question.",
  parameters: {
    type: "object",
    properties: {
      query: { type: "string", minLength: 1, description: "What to look for, as a question or a few key words." },
    },
    required: ["query"],
    additionalProperties: false,
  },
  effect: "read",
  scopes: [],
  connection: "none",
  visibility: { arguments: false, results: false },
  givesSources: true,
};

export function knowledgeToolkit(searchKnowledge: SearchKnowledge, maxResults: number): Toolkit {
  return {
    name: "knowledge",
    host: null,
    list: () => Promise.resolve([search]),
    describe: (name) => Promise.resolve(name === search.name ? search : null),
    async execute(_name, request) {
      const query = String(request.arguments.query).slice(0, MAX_QUERY_LENGTH).toWellFormed();
      const hits = await searchKnowledge({ query, limit: maxResults });
      const sources = hits.map(({ documentId, title, url, quote, score }) => ({
        documentId,
        title,
        url,
        quote,
        score,
      }));
      return { content: null, sources };
    },
    // A search changes nothing, so it may always be made again.
    classifyFailure: (error) => failureOf("tool.search_failed", error instanceof Error ? error.message : String(error)),
  };
}
