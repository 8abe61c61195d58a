import { createHash } from "node:crypto";
import type { Accounts } from "@agent-engine/core/members/accounts.ts";
import type { PasswordTry, WrongPasswords } from "@agent-engine/core/members/guard-passwords.ts";
import { RateLimiterPostgres, RateLimiterRes } from "rate-limiter-flexible";

/** So many in so long, for an account; and by themselves for each browser that has signed in to it before. */
const MAX_WRONG = 10;
const WINDOW_SECONDS = 15 * 60;

/**
 * Limits guesses of one account's password from any number of addresses. Who tries from a browser that has signed in
 * before is counted apart: strangers can keep strangers out, and never the person; and who has the mailbox gets in by a
 * new password. Counted in Postgres, for all servers together; addresses that have no account are counted the same.
 */
export function createWrongPasswords({ pool }: Pick<Accounts, "pool">): WrongPasswords {
  const limiter = new RateLimiterPostgres({
    storeClient: pool(),
    storeType: "pool",
    schemaName: "auth",
    tableName: "wrongPasswords",
    tableCreated: true,
    keyPrefix: "",
    points: MAX_WRONG,
    duration: WINDOW_SECONDS,
  });
  return {
    async admit(tried) {
      try {
        await limiter.consume(keyOf(tried));
        return null;
      } catch (error) {
        if (!(error instanceof RateLimiterRes)) throw error;
        return {
          retryAfterSeconds: Math.max(1, Math.ceil(error.msBeforeNext / 1_000)),
          isFirst: error.consumedPoints === MAX_WRONG + 1,
        };
      }
    },
    async right(tried) {
      await limiter.reward(keyOf(tried), 1);
    },
    async forget(account) {
      await limiter.delete(keyOf({ account, browser: null }));
    },
  };
}

function keyOf({ account, browser }: PasswordTry): string {
  const hash = createHash("sha256").update(account).digest("base64url");
  return browser === null ? hash : `${hash}:${browser}`;
}
