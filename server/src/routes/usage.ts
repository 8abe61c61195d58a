import { z } from "@hono/zod-openapi";
import { readUsage } from "@agent-engine/core/usage/read-usage.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { usageSchema } from "../openapi/budget-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const date = z.iso.date("must be a date like 2026-11-23");

const id = (prefix: string) =>
  z.string().regex(new RegExp(`^${prefix}_[0-9a-f]{32}$`), `must be an id like ${prefix}_…`);

const usageQuery = pageQuery.extend({
  from: date.optional().openapi({ format: "date", description: "The first day (UTC); 30 days ago by default." }),
  to: date.optional().openapi({ format: "date", description: "The last day (UTC); today by default." }),
  interval: z.enum(["day", "month"]).optional().openapi({ description: "`day` by default." }),
  groupBy: z.enum(["tenant", "agent", "visitor", "model"]).optional().openapi({ description: "`tenant` by default." }),
  agentId: id("agent").optional(),
  visitorId: id("visitor").optional(),
});

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;

export function usageRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/usage",
      tag: "Budgets",
      summary: "Read what was used, by day or month",
      description:
        "Newest first; within a day or month whoever used most first. Runs and model turns, tokens, and what they cost by the prices of then. What a conversation used stays when the conversation is deleted.",
      access: { scope: "usage:read", visitor: false },
      query: usageQuery,
      status: 200,
      answer: pageSchema(usageSchema),
    },
    ({ ctx, query }) => {
      const today = ctx.services.clock();
      const to = query.to ?? dateOf(today);
      return readUsage(ctx, {
        from: query.from ?? dateOf(Date.parse(to) - DEFAULT_DAYS * DAY_MS),
        to,
        interval: query.interval ?? "day",
        groupBy: query.groupBy ?? "tenant",
        agentId: query.agentId,
        visitorId: query.visitorId,
        ...pageRequest(query),
      });
    },
  );
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
