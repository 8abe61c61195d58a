import { expect, test } from "vitest";
import { PostgresUnavailable } from "./db/postgres-unavailable.ts";
import { createLogger } from "./log.ts";
import { redactText } from "./redact.ts";

/** Stands in every secret of this file: one search finds any that got through. */
const CANARY = "c4n4ry";
const long = `${CANARY}0123456789abcdefABCDEF_-`;

function logged(write: (log: ReturnType<typeof createLogger>) => void): { text: string; lines: unknown[] } {
  const written: string[] = [];
  write(createLogger({ logLevel: "trace", role: "server" }, { write: (line) => void written.push(line) }));
  return { text: written.join(""), lines: written.map((line) => JSON.parse(line) as unknown) };
}

test.each([
  "authorization",
  "Authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "Set-Cookie",
  "token",
  "accessToken",
  "refresh_token",
  "visitorToken",
  "identityToken",
  "invitationToken",
  "apiKey",
  "api_key",
  "x-api-key",
  "X-Api-Key",
  "secret",
  "secretKey",
  "secretKeys",
  "signingSecret",
  "client_secret",
  "privateKey",
  "password",
  "newPassword",
  "passphrase",
  "credential",
  "credentials",
])("what is named %s is redacted, however deep it stands", (name) => {
  const { text, lines } = logged((log) => {
    log.info({ [name]: CANARY }, "flat");
    log.info({ a: { b: { c: { d: { e: [{ [name]: CANARY }] } } } } }, "deep");
    log.info({ headers: { [name]: [CANARY, CANARY] } }, "list");
    log.child({ bound: 1 }).warn({ [name]: { inner: CANARY } }, "object");
    log.error({ err: Object.assign(new Error("failed"), { response: { headers: { [name]: CANARY } } }) }, "error");
    log.error({ err: new Error("outer", { cause: Object.assign(new Error("inner"), { [name]: CANARY }) }) }, "cause");
  });
  expect(text).not.toContain(CANARY);
  expect(text).toContain("[redacted]");
  expect(lines).toHaveLength(6);
});

test.each([
  ["an Authorization header", `sent Authorization: Bearer ${long}`],
  [
    "a basic credential",
    `Basic ${Buffer.from(`user:${long}`).toString("base64")}`,
    Buffer.from(`user:${long}`).toString("base64"),
  ],
  ["a secret key", `key sk_${long} was refused`],
  ["a vendor's key", `Incorrect API key provided: sk-proj-${long}.`],
  ["another vendor's key", `x-api-key sk-ant-api03-${long}`],
  ["a site's identity secret", `isk_${long}`],
  ["a webhook's secret", `whsec_${long}`],
  ["a signed token", `jwt eyJhbGciOiJIUzI1NiJ9.${long}.${long} expired`],
  ["an encrypted token", `eyJhbGciOiJkaXIi.${long}.${long}.${long}.${long}`],
  ["a query string of an address", `GET https://api.example/a/b?token=${long}&x=1 failed`],
  ["a query string of a path", `request "/v1/things?key=${long}" failed`],
  ["a query string at a line's beginning", `/callback?code=${long}`],
  ["a user and password in an address", `connect postgres://app:${long}@db:5432/engine failed`],
  ["a password in a redis address", `redis://:${long}@cache:6379`],
])("%s is redacted in messages, errors, stacks and fields", (_what, said, canary = long) => {
  const { text, lines } = logged((log) => {
    log.info(said);
    log.info({ detail: said, deep: [{ url: said }] }, "fields");
    log.error({ err: new Error(said, { cause: new TypeError(said) }) }, "error");
    log.error({ err: new AggregateError([new Error(said)], said) }, "errors");
    log.error(new Error(said));
  });
  expect(text).not.toContain(canary);
  expect(text).not.toContain(CANARY);
  expect(lines).toHaveLength(5);
});

test("a row that Postgres quotes is left out; what it says otherwise stays", () => {
  const error = Object.assign(new Error("duplicate key value violates unique constraint"), {
    code: "23505",
    severity: "ERROR",
    detail: `Key (token)=(${CANARY}) already exists.`,
    where: `unnamed portal parameter $1 = '${CANARY}'`,
    table: "session",
    constraint: "session_token_key",
  });
  const { text } = logged((log) => log.error({ err: error }, "not stored"));
  expect(text).not.toContain(CANARY);
  expect(text).toContain("session_token_key");
  expect(text).toContain("23505");
});

test("everything else is logged as it is", () => {
  const fields = {
    tenantId: "tenant_0198c0de00007000800000000000cafe",
    route: "/v1/runs/{runId}",
    tokens: { inputTokens: 12, outputTokens: 3 },
    maxTokens: 100,
    hasToken: true,
    keys: 3,
    url: "https://api.example/a/b#c",
    question: "Why? Because.",
    at: new Date(0),
    token: null,
    list: [1, "two", { three: 3 }],
  };
  const { lines } = logged((log) => log.info(fields, "What is this? A line, of the Basic kind."));
  expect(lines[0]).toMatchObject({
    ...fields,
    at: "1970-01-01T00:00:00.000Z",
    msg: "What is this? A line, of the Basic kind.",
  });
});

test("a redacted line stays one line of JSON, whatever stands in it", () => {
  for (const said of [
    `"Bearer ${long}"`,
    `\\Bearer ${long}\\`,
    `?"a=b`,
    `/x?y="z"`,
    `://u:p@\n/a?b`,
    "\u0000?\u2028",
    `sk_${long}"`,
  ]) {
    const { lines } = logged((log) => log.info({ said }, said));
    expect(lines).toHaveLength(1);
  }
  expect(redactText('{"a":"/x?secret=1","b":"kept"}')).toBe('{"a":"/x?[redacted]","b":"kept"}');
});

test("what fails because Postgres is away is detail; everything else keeps its level", () => {
  const levels = (lines: unknown[]) => lines.map((line) => (line as { level: number }).level);
  const { lines } = logged((log) => {
    log.error({ err: new PostgresUnavailable("no answer") }, "request could not be answered");
    log.warn({ err: new PostgresUnavailable("no answer") }, "a repeated task failed");
    log.error({ err: new Error("another") }, "request could not be answered");
    log.info({ err: new PostgresUnavailable("no answer") }, "postgres went away");
  });
  expect(levels(lines)).toEqual([20, 20, 50, 30]);
});
