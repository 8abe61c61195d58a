import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { idOf, uuidOf } from "../ids.ts";
import { SYNONYMS } from "./synonyms.ts";

export interface KnowledgeHit {
  documentId: string;
  title: string;
  url: string | null;
  /** The passage: a few whole sentences. */
  quote: string;
  /** 0..1: how much of the question's meaning the passage covers, rare words counting more than common ones. */
  score: number;
}

const MAX_QUERY_LENGTH = 1_000;

const search = statement<{ document_id: string; title: string; url: string | null; quote: string; score: number }>(
  "search_passages",
  "select * from search_passages($1, $2, $3, $4)",
);

/** The passages of the tenant's documents that cover the question best, best first; none when no word matches. */
export async function searchKnowledge(ctx: Ctx, input: { query: string; limit: number }): Promise<KnowledgeHit[]> {
  const rows = await transact(ctx, (tx) =>
    tx.query(search, [uuidOf(ctx.tenantId), cleanText(input.query).slice(0, MAX_QUERY_LENGTH), SYNONYMS, input.limit]),
  );
  return rows.map((row) => ({
    documentId: idOf("doc", row.document_id),
    title: row.title,
    url: row.url,
    quote: row.quote,
    score: Math.round(row.score * 1000) / 1000,
  }));
}
