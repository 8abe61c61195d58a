import { z } from "@hono/zod-openapi";
import { exportAuditLog, listAuditLog, type AuditFilter } from "@agent-engine/core/audit/list-audit-log.ts";
import { verifyAuditLog, type KnownEntry } from "@agent-engine/core/audit/verify-audit-log.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest, wholeNumber } from "../http/paging.ts";
import { pageSchema } from "../openapi/schemas.ts";
import { auditEntrySchema, auditVerdictSchema } from "../openapi/security-schemas.ts";

const tag = "Audit log";
const read = { scope: "audit:read", visitor: false } as const;

const moment = z.iso
  .datetime({ offset: true, error: "must be a time like 2026-11-22T12:00:00Z" })
  .transform((value) => new Date(value).toISOString());

const auditQuery = pageQuery.extend({
  actor: z.string().max(100).optional().openapi({ description: "Id of a member, key or visitor." }),
  action: z.string().max(100).optional().openapi({ example: "agent.published" }),
  target: z.string().max(100).optional().openapi({ description: "Id of what was changed." }),
  from: moment.optional().openapi({ format: "date-time" }),
  to: moment.optional().openapi({ format: "date-time", description: "Before this time." }),
});

/** Some 100 ms of work: what one request may ask for, however long the chain is. */
const CHECKED_AT_ONCE = 10_000;

const seq = wholeNumber(1, Number.MAX_SAFE_INTEGER).optional().openapi({ type: "integer" });
const hash = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/, "must be 64 hex digits")
  .optional();

const verifyQuery = z
  .object({ seq, hash, after: seq, afterHash: hash })
  .refine(({ seq, hash }) => (seq === undefined) === (hash === undefined), {
    path: ["hash"],
    message: "must be there together with `seq`: they name an entry you know",
  })
  .refine(({ after, afterHash }) => (after === undefined) === (afterHash === undefined), {
    path: ["afterHash"],
    message: "must be there together with `after`: they are `lastHash` and `entries` of the answer before",
  });

export function auditLogRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/audit-log",
      tag,
      summary: "Read the audit log, newest first",
      description:
        "Every change by a member, a key or the platform. With `Accept: application/jsonl` all that fits is exported, oldest first, one entry a line; `limit` and `cursor` mean nothing then.",
      access: read,
      query: auditQuery,
      status: 200,
      answer: pageSchema(auditEntrySchema),
      lines: ({ ctx, query }) => exportAuditLog(ctx, filterOf(query)),
    },
    ({ ctx, query }) => listAuditLog(ctx, pageRequest(query), filterOf(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/audit-log/verify",
      tag,
      summary: "Check that the audit log is what was written",
      description:
        "Computes the chain again and answers the first place where it does not fit, 10,000 entries at a time: while `isComplete` is false, ask again with `after` and `afterHash`, the `entries` and `lastHash` of the answer before. Give `seq` and `hash` of an entry that you kept with each, to notice also that the chain was made anew as a whole.",
      access: read,
      rate: "heavy",
      query: verifyQuery,
      status: 200,
      answer: auditVerdictSchema,
    },
    ({ ctx, query }) =>
      verifyAuditLog(ctx, entryOf(query.seq, query.hash), {
        after: entryOf(query.after, query.afterHash),
        atMost: CHECKED_AT_ONCE,
      }),
  );
}

function entryOf(seq: number | undefined, hash: string | undefined): KnownEntry | null {
  return seq === undefined || hash === undefined ? null : { seq, hash };
}

function filterOf({ actor, action, target, from, to }: z.infer<typeof auditQuery>): AuditFilter {
  return { actor, action, target, from, to };
}
