/** What better-auth tells of what it does: wrong passwords are limited, and changes of accounts put on record. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { UserId } from "@agent-engine/protocol/ids.ts";
import { createAuthMiddleware, isAPIError } from "better-auth/api";
import { decodeJwt } from "jose";
import type { Services } from "../context.ts";
import { auditAccount, type AccountChange } from "./audit-account.ts";
import {
  accountOfAddress,
  markBrowser,
  passwordTryOf,
  refuse,
  type PasswordTry,
  type WrongPasswords,
} from "./guard-passwords.ts";

/** Where a request came from, for the records. */
export interface AccountRequest {
  correlationId: string;
  ip: string | null;
}

interface Underway extends AccountRequest {
  tried: PasswordTry | null;
  /** What is put on record once the answer says that it was done. */
  changes: Omit<AccountChange, keyof AccountRequest>[];
  /** Sessions that were ended on request, by account. */
  ended: Map<UserId, number>;
}

/** The part of better-auth's context that says what is asked. */
interface Asked {
  path?: string;
  query?: Record<string, unknown>;
}

/** By better-auth's path. Signing out ends a session too, one's own: that is use, and no change of the account. */
const REVOKING = new Set(["/revoke-session", "/revoke-sessions", "/revoke-other-sessions", "/change-password"]);

export function createAccountHooks(services: Services, wrongPasswords: WrongPasswords) {
  const requests = new AsyncLocalStorage<Underway>();

  async function record({ correlationId, ip, changes, ended }: Underway): Promise<void> {
    for (const [userId, sessions] of ended) {
      changes.push({ userId, action: "member.sessions_revoked", after: { sessions } });
    }
    for (const change of changes) await auditAccount(services, { ...change, correlationId, ip });
  }

  /** Somebody guesses: said once in a window, to the tenants of whom it concerns. */
  async function recordGuessing({ account }: PasswordTry, { correlationId, ip }: AccountRequest): Promise<void> {
    const { rows } = await services.accounts
      .pool()
      .query<{ id: UserId }>(`select "id" from "user" where "email" = $1 or "id" = $1`, [account]);
    for (const { id: userId } of rows) {
      await auditAccount(services, {
        userId,
        action: "member.sign_in_held",
        isByStranger: true,
        after: { reason: "too many wrong passwords" },
        correlationId,
        ip,
      });
    }
  }

  const before = createAuthMiddleware(async (ctx) => {
    const underway = requests.getStore();
    if (!underway) return;
    const tried = await passwordTryOf(ctx);
    if (!tried) return;
    const refusal = await wrongPasswords.admit(tried);
    if (refusal) {
      if (refusal.isFirst) await recordGuessing(tried, underway);
      refuse(refusal);
    }
    underway.tried = tried;
  });

  const after = createAuthMiddleware(async (ctx) => {
    const tried = requests.getStore()?.tried;
    if (!tried || isAPIError(ctx.context.returned)) return;
    await wrongPasswords.right(tried);
    if (ctx.path === "/sign-in/email" && tried.browser === null) await markBrowser(ctx, tried.account);
  });

  return {
    /** Runs a request of better-auth so that its hooks know where it came from. */
    async run(request: AccountRequest, handle: () => Promise<Response>): Promise<Response> {
      const underway: Underway = { ...request, tried: null, changes: [], ended: new Map() };
      const response = await requests.run(underway, handle);
      await record(underway);
      return response;
    },
    hooks: { before, after },
    onPasswordReset: async ({ user }: { user: { id: string; email: string } }) => {
      await wrongPasswords.forget(accountOfAddress(user.email));
      requests.getStore()?.changes.push({ userId: user.id as UserId, action: "member.password_reset" });
    },
    databaseHooks: {
      account: {
        update: {
          after: async ({ userId }: { userId?: string }, context: Asked | null) => {
            if (context?.path !== "/change-password" || userId === undefined) return;
            requests.getStore()?.changes.push({ userId: userId as UserId, action: "member.password_changed" });
          },
        },
      },
      session: {
        delete: {
          after: async ({ userId }: { userId: string }, context: Asked | null) => {
            const ended = requests.getStore()?.ended;
            if (!ended || !REVOKING.has(context?.path ?? "")) return;
            ended.set(userId as UserId, (ended.get(userId as UserId) ?? 0) + 1);
          },
        },
      },
      user: {
        update: {
          after: async ({ id, email, name }: { id: string; email: string; name: string }, context: Asked | null) => {
            const changes = requests.getStore()?.changes;
            const userId = id as UserId;
            if (context?.path === "/update-user") changes?.push({ userId, action: "member.renamed", after: { name } });
            const previous = context?.path === "/verify-email" ? addressOf(context.query?.["token"]) : email;
            if (previous === email) return;
            const [before, after] = [{ email: previous }, { email }];
            changes?.push({ userId, action: "member.address_changed", before, after });
          },
        },
      },
    },
  };
}

/** The address that a link was mailed for. Read after better-auth did what the link says, so after it was verified. */
function addressOf(token: unknown): string | null {
  const { email } = typeof token === "string" ? decodeJwt(token) : {};
  return typeof email === "string" ? email : null;
}
