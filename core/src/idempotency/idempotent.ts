import { createHash } from "node:crypto";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenantEntities } from "../db/entity-transaction.ts";
import { inTenant, type Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { openAnswer, sealAnswer } from "./seal-answer.ts";

export interface IdempotentRequest {
  /** The `Idempotency-Key` header; null runs the verb as it is. */
  key: string | null;
  /** Method and route pattern, so that one key cannot stand for two kinds of request. */
  route: string;
  body: unknown;
  /** Status of a success. */
  status: number;
  /** Which transaction the verb needs: `entities` for verbs that work with the ORM. */
  transaction?: "statements" | "entities";
  /** The answer holds a secret that is shown once: what is saved of it is encrypted. */
  isSecret?: boolean;
}

export interface IdempotentResponse<T> {
  status: number;
  body: T;
  replayed: boolean;
}

const tryLock = statement<{ locked: boolean }>(
  "idempotency_lock",
  "select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as locked",
);

const find = statement<{ route: string; body_hash: Buffer; status: number; response: unknown }>(
  "idempotency_find",
  "select route, body_hash, status, response from idempotency_keys where tenant_id = $1 and principal = $2 and key = $3",
);

const save = statement(
  "idempotency_save",
  "insert into idempotency_keys (tenant_id, principal, key, route, body_hash, status, response) values ($1, $2, $3, $4, $5, $6, $7)",
);

/**
 * Runs a verb at most once for a key. The saved response is part of the verb's own transaction, so there is no moment
 * at which one exists without the other, and nothing is left locked after a crash. A verb that throws saves nothing.
 */
export async function idempotent<T>(
  ctx: Ctx,
  request: IdempotentRequest,
  verb: (ctx: Ctx) => Promise<T>,
): Promise<IdempotentResponse<T>> {
  const { key } = request;
  if (key === null) return { status: request.status, body: await verb(ctx), replayed: false };
  if (key.length === 0 || key.length > 255 || !/^[\x21-\x7e]+$/.test(key)) {
    throw new ProblemError(
      "invalid_request",
      "`Idempotency-Key` must be 1 to 255 printable ASCII characters without spaces.",
    );
  }
  const principal = principalOf(ctx);
  const owner = `${ctx.tenantId}:${principal}:${key}`;
  const bodyHash = createHash("sha256")
    .update(JSON.stringify(request.body) ?? "")
    .digest();

  const once = async (tx: Tx): Promise<IdempotentResponse<T>> => {
    const [lock] = await tx.query(tryLock, [owner]);
    if (!lock?.locked) {
      throw new ProblemError(
        "idempotency_in_flight",
        "A request with this Idempotency-Key is still being processed. Try again in a moment.",
        { retryAfterSeconds: 1 },
      );
    }
    const [saved] = await tx.query(find, [uuidOf(ctx.tenantId), principal, key]);
    if (saved) {
      if (saved.route !== request.route || !saved.body_hash.equals(bodyHash)) {
        throw new ProblemError(
          "idempotency_mismatch",
          "This Idempotency-Key was used with another request. Use a new key for a new request.",
        );
      }
      const body = request.isSecret ? openAnswer(ctx.services.secrets, owner, saved.response) : saved.response;
      return { status: saved.status, body: body as T, replayed: true };
    }
    const body = await verb({ ...ctx, tx });
    await tx.query(save, [
      uuidOf(ctx.tenantId),
      principal,
      key,
      request.route,
      bodyHash,
      request.status,
      JSON.stringify(request.isSecret ? sealAnswer(ctx.services.secrets, owner, body) : body),
    ]);
    return { status: request.status, body, replayed: false };
  };
  return request.transaction === "entities"
    ? inTenantEntities(ctx.services.db, ctx.tenantId, once)
    : inTenant(ctx.services.db, ctx.tenantId, once);
}

/** Keys belong to whoever sent them: one visitor's key means nothing for another's. */
function principalOf(ctx: Ctx): string {
  switch (ctx.actor.kind) {
    case "visitor":
      return ctx.actor.visitorId;
    case "secret_key":
      return ctx.actor.apiKeyId;
    case "member":
      return ctx.actor.memberId;
    case "worker":
      return "worker";
  }
}
