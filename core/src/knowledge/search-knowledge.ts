import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { idOf } from "../ids.ts";

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

// A question rarely has all its words in the answer, so any word may match; what counts is how much of the question
// a passage covers. A word that occurs nowhere weighs most: a passage without it can hardly be the answer.
const search = statement<{ document_id: string; title: string; url: string | null; quote: string; score: number }>(
  "knowledge_search",
  `with question as (
     select distinct lexeme from unnest(to_tsvector('english', $1)) limit 24
   ), corpus as (
     select count(*)::float as n from (select 1 from chunks limit 10000) counted
   ), weighed as (
     select q.lexeme, ln(1 + corpus.n / (0.5 + (
       select count(*) from (select 1 from chunks c where c.search @@ quote_literal(q.lexeme)::tsquery limit 10000) found
     ))) as weight
     from question q, corpus
   ), total as (
     select coalesce(sum(weight), 0) as weight, string_agg(quote_literal(lexeme), ' | ') as any_word from weighed
   )
   select d.id as document_id, d.title, d.url, c.text as quote, covered.weight / total.weight as score
   from total
   join chunks c on c.search @@ total.any_word::tsquery
   join documents d on d.id = c.document_id
   cross join lateral (
     select sum(w.weight) as weight from weighed w where c.search @@ quote_literal(w.lexeme)::tsquery
   ) covered
   where total.weight > 0
   order by score desc, ts_rank_cd(c.search, total.any_word::tsquery) desc, c.document_id, c.position
   limit $2`,
);

/** The passages of the tenant's documents that cover the question best, best first; none when no word matches. */
export async function searchKnowledge(ctx: Ctx, input: { query: string; limit: number }): Promise<KnowledgeHit[]> {
  const rows = await transact(ctx, (tx) =>
    tx.query(search, [cleanText(input.query).slice(0, MAX_QUERY_LENGTH), input.limit]),
  );
  return rows.map((row) => ({
    documentId: idOf("doc", row.document_id),
    title: row.title,
    url: row.url,
    quote: row.quote,
    score: Math.round(row.score * 1000) / 1000,
  }));
}
