import type { Roles } from "../roles.ts";

/**
 * Search over a tenant's passages. It is the system role's because row level security keeps Postgres from using the
 * search index (`@@` might leak what it compares): every search would read all passages of the tenant. The tenant is an
 * argument of each part instead, and must be the session's.
 *
 * A question rarely has all its words in the answer, so any word may match; what counts is how much of the question a
 * passage covers. A word that occurs nowhere weighs most: a passage without it can hardly be the answer. A word is
 * covered by its synonyms, too.
 */
export function knowledgeFunctions({ app, system }: Roles): string {
  return `
    create function search_passages(in_tenant uuid, asked text, synonym_lines text[], max_rows int)
    returns table (document_id uuid, title text, url text, quote text, score float)
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp as $$
    #variable_conflict use_column
    begin
      if current_tenant() is distinct from in_tenant then raise exception 'search_passages: the tenant is not the session''s'; end if;
      return query
      with question as (
        select distinct lexeme from unnest(to_tsvector('english', asked)) limit 24
      ), synonyms as (
        select array_agg(s.lexeme) as words
        from unnest(synonym_lines) with ordinality g (line, n), unnest(to_tsvector('english', g.line)) s
        group by g.n
      ), wanted as (
        select q.lexeme, coalesce(
          (select string_agg(quote_literal(w), ' | ') from synonyms s, unnest(s.words) w where q.lexeme = any (s.words)),
          quote_literal(q.lexeme)
        ) as words
        from question q
      ), corpus as (
        select count(*)::float as n from (select 1 from chunks c where c.tenant_id = in_tenant limit 10000) counted
      ), weighed as (
        select w.words, ln(1 + corpus.n / (0.5 + (
          select count(*) from (
            select 1 from chunks c where c.tenant_id = in_tenant and c.search @@ w.words::tsquery limit 10000
          ) found
        ))) as weight
        from wanted w, corpus
      ), total as (
        select coalesce(sum(weight), 0) as weight, string_agg(words, ' | ') as any_word from weighed
      )
      select d.id, d.title, d.url, c.text, covered.weight / total.weight as score
      from total
      join chunks c on c.tenant_id = in_tenant and c.search @@ total.any_word::tsquery
      join documents d on d.id = c.document_id and d.tenant_id = in_tenant
      cross join lateral (
        select sum(w.weight) as weight from weighed w where c.search @@ w.words::tsquery
      ) covered
      where total.weight > 0
      order by score desc, ts_rank_cd(c.search, total.any_word::tsquery) desc, c.document_id, c.position
      limit max_rows;
    end $$;
    alter function search_passages owner to ${system};
    revoke execute on function search_passages from public;
    grant execute on function search_passages to ${app};
  `;
}
