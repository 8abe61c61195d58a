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
  /**
   * Which transaction the verb needs: `entities` for verbs that work with the ORM; `none` for verbs that ask other services,
   * which may take long: a connection to the database is held for nobody's answer.
   */
  transaction?: "statements" | "entities" | "none";
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

/** Longer than any verb asks other services. */
const CLAIM_SECONDS = 300;

const claim = statement(
  "idempotency_claim",
  `insert into idempotency_claims (tenant_id, principal, key, expires_at)
   values ($1, $2, $3, now() + ${CLAIM_SECONDS} * interval '1 second')
   on conflict (tenant_id, principal, key) do update set expires_at = excluded.expires_at
     where idempotency_claims.expires_at < now()
   returning key`,
);

/** And those that a crash has left behind. */
const unclaim = statement(
  "idempotency_unclaim",
  `delete from idempotency_claims
   where tenant_id = $1 and ((principal = $2 and key = $3) or expires_at < now() - interval '1 hour')`,
);

/**
 * Runs a verb at most once for a key. The saved response is part of the verb's own transaction, so there is no moment
 * at which one exists without the other, and nothing is left locked after a crash. A verb that throws saves nothing.
 *
 * Without a transaction (`none`) the key is claimed while the verb runs. A server that dies between the verb's end and
 * the saving lets the same request be done again once the claim has expired.
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

  const named = [uuidOf(ctx.tenantId), principal, key];

  async function savedAnswer(tx: Tx): Promise<IdempotentResponse<T> | null> {
    const [saved] = await tx.query(find, named);
    if (!saved) return null;
    if (saved.route !== request.route || !saved.body_hash.equals(bodyHash)) {
      throw new ProblemError(
        "idempotency_mismatch",
        "This Idempotency-Key was used with another request. Use a new key for a new request.",
      );
    }
    const body = request.isSecret ? openAnswer(ctx.services.secrets, owner, saved.response) : saved.response;
    return { status: saved.status, body: body as T, replayed: true };
  }

  async function saveAnswer(tx: Tx, body: T): Promise<IdempotentResponse<T>> {
    const response = JSON.stringify(request.isSecret ? sealAnswer(ctx.services.secrets, owner, body) : body);
    await tx.query(save, [...named, request.route, bodyHash, request.status, response]);
    return { status: request.status, body, replayed: false };
  }

  const once = async (tx: Tx): Promise<IdempotentResponse<T>> => {
    const [lock] = await tx.query(tryLock, [owner]);
    if (!lock?.locked) throw inFlight();
    return (await savedAnswer(tx)) ?? saveAnswer(tx, await verb({ ...ctx, tx }));
  };

  const release = (tx: Tx): Promise<unknown> => tx.query(unclaim, named);

  async function onceByClaim(): Promise<IdempotentResponse<T>> {
    const within = <Answer>(fn: (tx: Tx) => Promise<Answer>) => inTenant(ctx.services.db, ctx.tenantId, fn);
    const earlier = await within(async (tx) => {
      const [claimed] = await tx.query(claim, named);
      if (!claimed) throw inFlight();
      // After the claim: who had it before has saved by now, or never will.
      const saved = await savedAnswer(tx);
      if (saved) await release(tx);
      return saved;
    });
    if (earlier) return earlier;
    const body = await verb(ctx).catch(async (error: unknown) => {
      await within(release).catch(() => {});
      throw error;
    });
    return within(async (tx) => {
      const answer = await saveAnswer(tx, body);
      await release(tx);
      return answer;
    });
  }

  switch (request.transaction) {
    case "none":
      return onceByClaim();
    case "entities":
      return inTenantEntities(ctx.services.db, ctx.tenantId, once);
    default:
      return inTenant(ctx.services.db, ctx.tenantId, once);
  }
}

function inFlight(): ProblemError {
  return new ProblemError(
    "idempotency_in_flight",
    "A request with this Idempotency-Key is still being processed. Try again in a moment.",
    { retryAfterSeconds: 1 },
  );
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
