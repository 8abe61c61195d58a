import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { idOf } from "../ids.ts";
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

// A question rarely has all its words in the answer, so any word may match; what counts is how much of the question
// a passage covers. A word that occurs nowhere weighs most: a passage without it can hardly be the answer. A word is
// covered by its synonyms, too.
const search = statement<{ document_id: string; title: string; url: string | null; quote: string; score: number }>(
  "knowledge_search",
  `with question as (
     select distinct lexeme from unnest(to_tsvector('english', $1)) limit 24
   ), synonyms as (
     select array_agg(s.lexeme) as words
     from unnest($3::text[]) with ordinality g (line, n), unnest(to_tsvector('english', g.line)) s
     group by g.n
   ), wanted as (
     select q.lexeme, coalesce(
       (select string_agg(quote_literal(w), ' | ') from synonyms s, unnest(s.words) w where q.lexeme = any (s.words)),
       quote_literal(q.lexeme)
     ) as words
     from question q
   ), corpus as (
     select count(*)::float as n from (select 1 from chunks limit 10000) counted
   ), weighed as (
     select w.words, ln(1 + corpus.n / (0.5 + (
       select count(*) from (select 1 from chunks c where c.search @@ w.words::tsquery limit 10000) found
     ))) as weight
     from wanted w, corpus
   ), total as (
     select coalesce(sum(weight), 0) as weight, string_agg(words, ' | ') as any_word from weighed
   )
   select d.id as document_id, d.title, d.url, c.text as quote, covered.weight / total.weight as score
   from total
   join chunks c on c.search @@ total.any_word::tsquery
   join documents d on d.id = c.document_id
   cross join lateral (
     select sum(w.weight) as weight from weighed w where c.search @@ w.words::tsquery
   ) covered
   where total.weight > 0
   order by score desc, ts_rank_cd(c.search, total.any_word::tsquery) desc, c.document_id, c.position
   limit $2`,
);

/** The passages of the tenant's documents that cover the question best, best first; none when no word matches. */
export async function searchKnowledge(ctx: Ctx, input: { query: string; limit: number }): Promise<KnowledgeHit[]> {
  const rows = await transact(ctx, (tx) =>
    tx.query(search, [cleanText(input.query).slice(0, MAX_QUERY_LENGTH), input.limit, SYNONYMS]),
  );
  return rows.map((row) => ({
    documentId: idOf("doc", row.document_id),
    title: row.title,
    url: row.url,
    quote: row.quote,
    score: Math.round(row.score * 1000) / 1000,
  }));
}
