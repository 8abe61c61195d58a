import type { UsageGroup, UsageRow } from "@agent-engine/protocol/budgets.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";

export interface ReadUsage {
  /** ISO 8601 dates, UTC: from the first to the last, both included. */
  from: string;
  to: string;
  interval: "day" | "month";
  groupBy: UsageGroup;
  /** Well-formed ids; somebody else's have used nothing. */
  agentId?: string | undefined;
  visitorId?: string | undefined;
  limit: number;
  cursor: string | null;
}

interface Row {
  starts_on: string;
  agent_id: string | null;
  visitor_id: string | null;
  provider: string | null;
  model: string | null;
  runs: string;
  turns: string;
  input_tokens: string;
  output_tokens: string;
  total_tokens: string;
  reasoning_tokens: string;
  cached_input_tokens: string;
  cost_micros: string;
  unpriced_tokens: string;
  estimated_tokens: string;
}

const GROUPS: Record<UsageGroup, readonly string[]> = {
  tenant: [],
  agent: ["agent_id"],
  visitor: ["visitor_id"],
  model: ["provider", "model"],
};
const KEYS = ["agent_id", "visitor_id", "provider", "model"];

/** One statement for each group: by one for all of them nothing could be left out. */
const statements = Object.fromEntries(
  Object.entries(GROUPS).map(([group, keys]) => [
    group,
    statement<Row>(
      `usage_by_${group}`,
      `select to_char(date_trunc($4, u.at at time zone 'utc'), 'YYYY-MM-DD') as starts_on,
         ${KEYS.map((key) => (keys.includes(key) ? `u.${key}` : `null as ${key}`)).join(", ")},
         count(distinct u.run_id) as runs, count(*) as turns,
         ${["input", "output", "total", "reasoning", "cached_input"].map((kind) => `sum(u.${kind}_tokens) as ${kind}_tokens`).join(", ")},
         coalesce(sum(u.cost_micros), 0) as cost_micros,
         coalesce(sum(u.total_tokens) filter (where u.cost_micros is null), 0) as unpriced_tokens,
         coalesce(sum(u.total_tokens) filter (where u.is_estimated), 0) as estimated_tokens
       from usage u
       where u.tenant_id = $1 and u.at >= $2::date::timestamp at time zone 'utc' and u.at < ($3::date + 1)::timestamp at time zone 'utc'
         and ($5::uuid is null or u.agent_id = $5) and ($6::uuid is null or u.visitor_id = $6)
       group by ${["1", ...keys.map((key) => `u.${key}`)].join(", ")}
       order by ${["1 desc", "sum(u.total_tokens) desc", ...keys.map((key) => `u.${key}`)].join(", ")}
       limit $7 offset $8`,
    ),
  ]),
) as Record<UsageGroup, ReturnType<typeof statement<Row>>>;

const MAX_DAYS = 400;
const DAY_MS = 86_400_000;

/** What was used, by day or month, newest first, and within one whoever used most first. */
export async function readUsage(ctx: Ctx, input: ReadUsage): Promise<Page<UsageRow>> {
  const days = (Date.parse(input.to) - Date.parse(input.from)) / DAY_MS + 1;
  if (days < 1 || days > MAX_DAYS) {
    throw new ProblemError(
      "invalid_request",
      `\`from\` must not be after \`to\`, nor more than ${MAX_DAYS} days before it.`,
    );
  }
  const offset = offsetOf(input.cursor);
  const rows = await transact(ctx, (tx) =>
    tx.query(statements[input.groupBy], [
      uuidOf(ctx.tenantId),
      input.from,
      input.to,
      input.interval,
      input.agentId === undefined ? null : uuidOf(input.agentId),
      input.visitorId === undefined ? null : uuidOf(input.visitorId),
      input.limit + 1,
      offset,
    ]),
  );
  return {
    items: rows.slice(0, input.limit).map(toUsage),
    nextCursor: rows.length > input.limit ? String(offset + input.limit) : null,
  };
}

/** A sum has no id, and what lies in the past does not change: the cursor is how many were shown. */
function offsetOf(cursor: string | null): number {
  if (cursor === null) return 0;
  if (/^[1-9]\d{0,6}$/.test(cursor)) return Number(cursor);
  throw new ProblemError(
    "invalid_request",
    "`cursor` is not one this list gave. Use the `nextCursor` of the page before.",
  );
}

function toUsage(row: Row): UsageRow {
  return {
    startsOn: row.starts_on,
    agentId: row.agent_id === null ? null : idOf("agent", row.agent_id),
    visitorId: row.visitor_id === null ? null : idOf("visitor", row.visitor_id),
    provider: row.provider,
    model: row.model,
    runs: Number(row.runs),
    turns: Number(row.turns),
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    totalTokens: Number(row.total_tokens),
    reasoningTokens: Number(row.reasoning_tokens),
    cachedInputTokens: Number(row.cached_input_tokens),
    costMicros: Number(row.cost_micros),
    unpricedTokens: Number(row.unpriced_tokens),
    estimatedTokens: Number(row.estimated_tokens),
  };
}
