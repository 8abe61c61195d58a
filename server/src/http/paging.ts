import { z } from "@hono/zod-openapi";
import type { PageRequest } from "@agent-engine/core/db/page.ts";

/** A whole number in a query string; anything else is named as such. */
export const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, "must be a whole number")
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be between ${min} and ${max}`);

const DEFAULT_LIMIT = 20;

export const pageQuery = z.object({
  limit: wholeNumber(1, 100).optional().openapi({ type: "integer", description: "1 to 100, 20 by default." }),
  cursor: z.string().max(200).optional().openapi({ description: "The `nextCursor` of the page before." }),
});

export function pageRequest(query: z.infer<typeof pageQuery>): PageRequest {
  return { limit: query.limit ?? DEFAULT_LIMIT, cursor: query.cursor ?? null };
}
