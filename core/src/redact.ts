/**
 * What is a secret by its name or by its looks, for everything that is kept or shown and must hold none: the log and the
 * audit log. The code that handles a secret is the first to keep it to itself; this is what stands behind it.
 */

/** Names whose value is a secret wherever they stand, written in any case, with `-` or `_` or without. */
const SECRET_NAMES = new Set(
  [
    "authorization",
    "proxyAuthorization",
    "cookie",
    "cookies",
    "setCookie",
    "token",
    "accessToken",
    "refreshToken",
    "idToken",
    "visitorToken",
    "identityToken",
    "sessionToken",
    "invitationToken",
    "bearer",
    "jwt",
    "apiKey",
    "xApiKey",
    "secret",
    "secrets",
    "secretKey",
    "secretKeys",
    "clientSecret",
    "signingSecret",
    "webhookSecret",
    "identitySecret",
    "privateKey",
    "masterKey",
    "dataKey",
    "password",
    "newPassword",
    "currentPassword",
    "passphrase",
    "credential",
    "credentials",
  ].map(plain),
);

function plain(name: string): string {
  return name.replaceAll(/[-_]/g, "").toLowerCase();
}

export function isSecretName(name: string): boolean {
  return SECRET_NAMES.has(plain(name));
}

export const REDACTED = "[redacted]";

/** No quotes and no backslashes among them: what is replaced in a line of JSON leaves it JSON. */
const LOOKS: readonly (readonly [RegExp, string])[] = [
  // A scheme and what follows it, as in an Authorization header; `Bearer` alone is a word.
  [/\b(Bearer|Basic|Digest|ApiKey) +[^\s"\\,]{6,}/gi, `$1 ${REDACTED}`],
  // Ours and those of vendors: sk_…, sk-…, sk-ant-…, whsec_…, ghp_…, xoxb-…
  [/\b(i?sk|rk|whsec|ghp|gho|github_pat|xox[abprs]|glpat)([-_])[A-Za-z0-9_-]{12,}/g, `$1$2${REDACTED}`],
  // Signed tokens (JWT), and what is encrypted in the same form; not behind the # of a link in a mail, which a developer
  // without a mail server reads in the log. No request ever carries what stands there.
  [/(?<!#token=[\w.-]*)\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){0,3}/g, REDACTED],
  // user:password@ in an address, whatever it is an address of.
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s"\\/@?#]+@/gi, `$1${REDACTED}@`],
  // The query of an address or of a path: tokens, codes and keys travel there.
  [/((?:\b[a-z][a-z0-9+.-]*:\/\/|["'\s(=]\/)[^\s"'\\?#]*)\?[^\s"'\\]+/gi, `$1?${REDACTED}`],
];

/** What every one of them has in it: most lines have none of it, and one look tells. */
const SUSPECT = /[?]|:\/\/|eyJ|(?:sk|rk|whsec|gh[po]|github_pat|xox[abprs]|glpat)[-_]|(?:bearer|basic|digest|apikey) /i;

/** The text without what looks like a secret. Safe on a line of JSON. */
export function redactText(text: string): string {
  if (!SUSPECT.test(text)) return text;
  let redacted = text;
  for (const [pattern, replacement] of LOOKS) redacted = redacted.replaceAll(pattern, replacement);
  return redacted;
}

const MAX_DEPTH = 12;

/** A copy in which values of secret names are replaced, however deep. What is not plain data is left as it is. */
export function redactNames(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth > MAX_DEPTH) return "[too deep]";
  if (Array.isArray(value)) return value.map((entry) => redactNames(entry, depth + 1));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, entry]) => [
      name,
      isSecretName(name) && entry !== null && entry !== undefined && typeof entry !== "boolean"
        ? REDACTED
        : redactNames(entry, depth + 1),
    ]),
  );
}
