/**
 * Guesses of passwords, counted for each account beside better-auth's limits for each address: a password is tried only
 * as long as few wrong ones were.
 */
import { randomBytes } from "node:crypto";
import type { GenericEndpointContext } from "better-auth";
import { APIError, getSessionFromCtx } from "better-auth/api";

/** Whose password is tried, and the mark of a browser that has signed in to the account before. */
export interface PasswordTry {
  account: string;
  browser: string | null;
}

export interface Refusal {
  retryAfterSeconds: number;
  /** Nobody was refused before in this window. */
  isFirst: boolean;
}

export interface WrongPasswords {
  /** Counts a try as a wrong one, before the password is looked at: of guesses at the same moment none is free. */
  admit(tried: PasswordTry): Promise<Refusal | null>;
  /** It was right: takes the try back. */
  right(tried: PasswordTry): Promise<void>;
  /** Whoever has the mailbox has chosen a new password: what strangers tried before says nothing any more. */
  forget(account: string): Promise<void>;
}

/** How long a browser is known after somebody signed in with it. */
const KNOWN_SECONDS = 180 * 86_400;
const BROWSER_COOKIE = "known_browser";

/** The name that tries of signing in are counted under; the same whether there is such an account or not. */
export const accountOfAddress = (email: string): string => email.toLowerCase();

/** What a request tries, when it tries a password; null otherwise. */
export async function passwordTryOf(ctx: GenericEndpointContext): Promise<PasswordTry | null> {
  switch (ctx.path) {
    case "/sign-in/email": {
      const { email } = (ctx.body ?? {}) as { email?: unknown };
      if (typeof email !== "string") return null;
      const account = accountOfAddress(email);
      return { account, browser: await knownBrowser(ctx, account) };
    }
    case "/change-password": {
      // Whoever holds a session and not the password; counted apart, so that strangers cannot keep the person from it.
      const session = await getSessionFromCtx(ctx);
      return session && { account: session.user.id, browser: null };
    }
    default:
      return null;
  }
}

/** Throws what the request is answered when there were too many wrong passwords. */
export function refuse({ retryAfterSeconds }: Refusal): never {
  const minutes = Math.ceil(retryAfterSeconds / 60);
  throw new APIError(
    "TOO_MANY_REQUESTS",
    {
      code: "TOO_MANY_WRONG_PASSWORDS",
      message: `There were too many wrong passwords for this account. Try again in ${minutes} min, sign in from a browser that has done so before, or ask for a new password by mail.`,
    },
    { "retry-after": String(retryAfterSeconds) },
  );
}

/** Lets the browser sign in to this account however many strangers try to. */
export async function markBrowser(ctx: GenericEndpointContext, account: string): Promise<void> {
  const { name, attributes } = ctx.context.createAuthCookie(BROWSER_COOKIE, { maxAge: KNOWN_SECONDS });
  const mark = `${Buffer.from(account).toString("base64url")}.${randomBytes(18).toString("base64url")}`;
  await ctx.setSignedCookie(name, mark, ctx.context.secret, attributes);
}

async function knownBrowser(ctx: GenericEndpointContext, account: string): Promise<string | null> {
  const { name } = ctx.context.createAuthCookie(BROWSER_COOKIE);
  const mark = await ctx.getSignedCookie(name, ctx.context.secret);
  const [of, browser] = typeof mark === "string" ? mark.split(".") : [];
  return of === Buffer.from(account).toString("base64url") && browser ? browser : null;
}
