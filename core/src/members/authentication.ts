import { betterAuth } from "better-auth";
import type { Logger } from "pino";
import type { Services } from "../context.ts";
import { changeAddressMail, passwordResetMail, verificationMail } from "../mail/mails.ts";
import { createAccountHooks } from "./account-hooks.ts";
import type { WrongPasswords } from "./guard-passwords.ts";
import { COOKIE_PREFIX, resignCookies, signingSecret } from "./session-cookie.ts";
import { PASSWORD_LENGTH } from "./password.ts";

export interface Authentication {
  /** Answers a request below `/api/auth/`. `body` was read already, so that its size is known. */
  handle(request: AuthenticationRequest): Promise<Response>;
}

export interface AuthenticationRequest {
  method: string;
  url: string;
  headers: Headers;
  body: string;
  /** The client's address, as far as it can be trusted; null where there is none. */
  clientAddress: string | null;
  correlationId: string;
}

export interface AuthenticationOptions {
  services: Services;
  wrongPasswords: WrongPasswords;
  /** Where browsers reach the API. Without a trailing slash. */
  apiUrl: string;
  /** Whose pages may sign in, and be returned to. */
  trustedOrigins: string[];
}

/** A header of ours: what clients send by this name never arrives. */
const CLIENT_ADDRESS = "x-agent-engine-client-address";
const FORWARDED = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  CLIENT_ADDRESS,
];

const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 24 * HOUR_SECONDS;

/** Whoever has none of these yet gets the generic limit; all are counted per address, in Postgres. */
const RATE_LIMITS = {
  "/sign-in/*": { window: 60, max: 20 },
  "/sign-up/*": { window: 60, max: 5 },
  "/reset-password": { window: 60, max: 10 },
  "/verify-password": { window: 60, max: 10 },
};

/** Sign-in with other providers comes with single sign-on; until then there is nothing behind these. */
const DISABLED_PATHS = [
  "/sign-in/social",
  "/link-social",
  "/unlink-account",
  "/refresh-token",
  "/get-access-token",
  "/account-info",
];

/** Everything that better-auth does, in one module, so that a process loads it only when somebody signs in. */
export function createAuthentication(options: AuthenticationOptions): Authentication {
  const { services } = options;
  const { run, onPasswordReset, hooks, databaseHooks } = createAccountHooks(services, options.wrongPasswords);
  const fixed = authOptions(options);
  const emailAndPassword = { ...fixed.emailAndPassword, onPasswordReset };
  const auth = betterAuth({ ...fixed, emailAndPassword, hooks, databaseHooks });
  return {
    async handle({ method, url, headers: given, body, clientAddress, correlationId }) {
      const headers = new Headers(given);
      for (const name of FORWARDED) headers.delete(name);
      if (clientAddress !== null) headers.set(CLIENT_ADDRESS, clientAddress);
      const cookies = headers.get("cookie");
      if (cookies !== null) headers.set("cookie", resignCookies(services.secrets, cookies));
      // Its length is what the body was before; Request counts anew.
      headers.delete("content-length");
      const request = new Request(url, { method, headers, ...(body === "" ? {} : { body }) });
      return run({ correlationId, ip: clientAddress }, () => auth.handler(request));
    },
  };
}

/** better-auth's options, for the handler and for the test that compares the tables with what they need. */
export function authOptions({
  services,
  apiUrl,
  trustedOrigins,
}: Pick<AuthenticationOptions, "apiUrl" | "trustedOrigins"> & {
  services: Pick<Services, "accounts" | "secrets" | "newId" | "log">;
}) {
  const { accounts, secrets, newId, log } = services;
  const { mailer, consoleUrl } = accounts;
  const [master] = secrets.keys;
  if (master === undefined) throw new Error("no master key to sign with");
  return {
    appName: "Agent Engine",
    baseURL: apiUrl,
    basePath: "/api/auth",
    secret: signingSecret(master),
    database: accounts.pool(),
    trustedOrigins,
    telemetry: { enabled: false },
    logger: { level: "warn" as const, log: logTo(log) },
    onAPIError: { throw: true },
    disabledPaths: DISABLED_PATHS,
    advanced: {
      cookiePrefix: COOKIE_PREFIX,
      useSecureCookies: accounts.isSecure,
      // Said aloud: under a test runner better-auth would otherwise check no origin.
      disableOriginCheck: false,
      disableCSRFCheck: false,
      ipAddress: { ipAddressHeaders: [CLIENT_ADDRESS] },
      database: { generateId: ({ model }: { model: string }) => newId(model.toLowerCase()), validateSchema: false },
    },
    rateLimit: { enabled: true, storage: "database" as const, window: 60, max: 300, customRules: RATE_LIMITS },
    // Not cached in a cookie: a revoked session ends with the next request.
    session: { expiresIn: 7 * DAY_SECONDS, updateAge: DAY_SECONDS, cookieCache: { enabled: false } },
    emailAndPassword: {
      enabled: true,
      disableSignUp: accounts.signUp === "invited",
      requireEmailVerification: true,
      minPasswordLength: PASSWORD_LENGTH.min,
      maxPasswordLength: PASSWORD_LENGTH.max,
      revokeSessionsOnPasswordReset: true,
      resetPasswordTokenExpiresIn: HOUR_SECONDS,
      sendResetPassword: async ({ user, token }: { user: { email: string }; token: string }) =>
        mailer.send(passwordResetMail(consoleUrl, user.email, token)),
    },
    emailVerification: {
      sendOnSignUp: true,
      sendOnSignIn: true,
      expiresIn: HOUR_SECONDS,
      sendVerificationEmail: async ({ user, token }: { user: { email: string }; token: string }) =>
        mailer.send(verificationMail(consoleUrl, user.email, token)),
    },
    user: {
      changeEmail: {
        enabled: true,
        // First the old address agrees, then the new one proves itself.
        sendChangeEmailConfirmation: async (change: { user: { email: string }; newEmail: string; token: string }) =>
          mailer.send(changeAddressMail(consoleUrl, change.user.email, change.newEmail, change.token)),
      },
    },
  };
}

/** better-auth's complaints as ours. What comes beside the message may hold addresses and stays away, errors apart. */
function logTo(log: Logger) {
  return (level: "debug" | "info" | "warn" | "error", message: string, ...rest: unknown[]): void => {
    const err = rest.find((each) => each instanceof Error);
    log[level === "error" ? "warn" : "debug"]({ ...(err ? { err } : {}), from: "better-auth" }, message);
  };
}
