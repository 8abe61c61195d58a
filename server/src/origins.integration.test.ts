/** Pages of other origins, and publishable keys where they do not belong: over HTTP, SSE, polling and WebSockets. */
import { request as httpRequest } from "node:http";
import { io } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { REALTIME_PATH, type RealtimeRefusal } from "@agent-engine/protocol/realtime.ts";
import type { Problem } from "@agent-engine/protocol/resources.ts";
import { furnish, type Furnished } from "./isolation-fixture.ts";
import { operationsOf, pathOf } from "./operations-fixture.ts";
import { call, converse, ORIGIN, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let token: string;
let conversationId: string;
let furnished: Furnished;

beforeAll(async () => {
  fixture = await startServerFixture();
  token = (await visit(fixture)).visitorToken;
  conversationId = (await converse(fixture, token)).id;
  furnished = await furnish(fixture, fixture.demo, ORIGIN, "member_0198c0de00007000800000000000cafe");
});
afterAll(() => fixture.stop());

const bytes = (text: string) => Buffer.from(text, "utf8").toString("latin1");

/** What is neither `https://shop.example` nor below `https://*.wild.example`, and tries to look so. */
const SPOOFED = [
  "",
  "null",
  "NULL",
  "undefined",
  "*",
  "https://*",
  "https://*.wild.example",
  "shop.example",
  "//shop.example",
  "https:shop.example",
  "https:/shop.example",
  "https:///shop.example",
  "https:\\\\shop.example",
  "http://shop.example",
  "ws://shop.example",
  "wss://shop.example",
  "ftp://shop.example",
  "file://shop.example",
  "file://",
  "data:text/html,shop.example",
  "blob:https://shop.example/1",
  "javascript://shop.example",
  "view-source:https://shop.example",
  "chrome-extension://shop.example",
  "capacitor://shop.example",
  "about:blank",
  "https://shop.example/",
  "https://shop.example/path",
  "https://shop.example?",
  "https://shop.example?x=1",
  "https://shop.example#",
  "https://shop.example#x",
  "https://shop.example:443",
  "https://shop.example:0443",
  "https://shop.example:80",
  "https://shop.example:8443",
  "https://shop.example:",
  "https://shop.example.",
  "https://shop.example..",
  "https://.shop.example",
  "https://www.shop.example",
  "https://shop.example.evil.test",
  "https://shop.example-evil.test",
  "https://shopexample",
  "https://shop-example",
  "https://evilshop.example",
  "https://evil.test/shop.example",
  "https://evil.test#shop.example",
  "https://evil.test?https://shop.example",
  "https://user@shop.example",
  "https://user:secret@shop.example",
  "https://@shop.example",
  "https://shop.example@evil.test",
  "https://shop.example:443@evil.test",
  "https://shop.example%40evil.test",
  "https://shop.example\\@evil.test",
  "https://shop.example\\.evil.test",
  "https://shop%2eexample",
  "https://shop.example%00.evil.test",
  "https://shop.example%0d%0a",
  "https://shop.example,https://evil.test",
  "https://shop.example, https://evil.test",
  "https://evil.test https://shop.example",
  "https://shop.example;evil.test",
  "https://shop.example|evil.test",
  "https://shop_example",
  "https://shop.examp1e",
  "https://xn--shp-gna.example",
  bytes("https://sh\u00f6p.example"),
  bytes("https://sh\u043ep.example"),
  bytes("https://shop\u3002example"),
  bytes("https://shop.example\u200b"),
  bytes("https://\uff53hop.example"),
  "https://127.0.0.1",
  "https://[::1]",
  "https://localhost",
  "https://wild.example",
  "http://a.wild.example",
  "https://a.wild.example:8443",
  "https://a.wild.example.",
  "https://awild.example",
  "https://a-wild.example",
  "https://a.wild.example.evil.test",
  "https://evil.test/.wild.example",
  "https://evil.test#.wild.example",
  "https://a.wild.exampl%d0%b5",
  "https://.wild.example",
  `https://${"a.".repeat(200)}wild.example`,
  `https://${"a".repeat(4_000)}.wild.example`,
];

/** One request with exactly this `Origin`, as no browser would send it. */
function send(method: string, path: string, headers: Record<string, string>, body?: string) {
  return new Promise<{ status: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
    const request = httpRequest(`${fixture.url}${path}`, { method, headers, agent: false }, (response) => {
      const status = response.statusCode ?? 0;
      const isStream = response.headers["content-type"]?.startsWith("text/event-stream") === true;
      if (isStream) {
        response.destroy();
        return resolve({ status, headers: response.headers, text: "a stream" });
      }
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status, headers: response.headers, text }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** How a socket over WebSocket is answered. */
function socket(origin: string): Promise<string> {
  const client = io(fixture.url, {
    path: REALTIME_PATH,
    auth: { token },
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
    extraHeaders: { origin },
  });
  return new Promise<string>((resolve) => {
    client.once("connect", () => resolve("connected"));
    client.once("connect_error", (error: Error & { data?: RealtimeRefusal }) => resolve(error.data?.code ?? "refused"));
  }).finally(() => client.disconnect());
}

/** How a socket over polling is answered, and which origin may read the answers. */
async function poll(origin: string): Promise<{ outcome: string; readableBy: unknown }> {
  const path = `${REALTIME_PATH}/?EIO=4&transport=polling`;
  const opened = await send("GET", path, { origin });
  const { sid } = JSON.parse(opened.text.slice(1)) as { sid: string };
  await send("POST", `${path}&sid=${sid}`, { origin, "content-type": "text/plain" }, `40${JSON.stringify({ token })}`);
  const { text } = await send("GET", `${path}&sid=${sid}`, { origin });
  return {
    outcome: text.startsWith("40")
      ? "connected"
      : ((JSON.parse(text.slice(2)) as { data: RealtimeRefusal }).data.code ?? text),
    readableBy: opened.headers["access-control-allow-origin"],
  };
}

const bearer = () => ({ authorization: `Bearer ${token}` });
const opening = () => JSON.stringify({ publishableKey: fixture.demo.publishableKey });
const json = { "content-type": "application/json" };

describe("an origin that is not the site's", () => {
  test("opens no session", async () => {
    expect(new Set(SPOOFED).size).toBeGreaterThanOrEqual(60);
    for (const origin of SPOOFED) {
      const { status, text } = await send("POST", "/v1/visitor-sessions", { ...json, origin }, opening());
      expect([origin, status, (JSON.parse(text) as Problem).code]).toEqual([origin, 403, "origin_not_allowed"]);
    }
    const { status } = await send("POST", "/v1/visitor-sessions", json, opening());
    expect(status).toBe(403);
  });

  test("uses no token that it found, and its page may read no answer", async () => {
    for (const origin of SPOOFED.filter((each) => each !== "")) {
      for (const path of ["/v1/conversations", `/v1/conversations/${conversationId}/stream`]) {
        const { status, headers, text } = await send("GET", path, { ...bearer(), origin });
        expect([origin, path, status, (JSON.parse(text) as Problem).code]).toEqual([
          origin,
          path,
          403,
          "origin_not_allowed",
        ]);
        expect([origin, headers["access-control-allow-origin"]]).toEqual([origin, undefined]);
      }
      const preflight = await send("OPTIONS", "/v1/conversations", { origin, "access-control-request-method": "GET" });
      expect([origin, preflight.status, preflight.headers["access-control-allow-origin"]]).toEqual([
        origin,
        403,
        undefined,
      ]);
    }
  });

  test("connects no socket, by WebSocket or by polling", async () => {
    for (const origin of SPOOFED.filter((each) => each !== "")) {
      expect([origin, await socket(origin)]).toEqual([origin, "origin_not_allowed"]);
      expect([origin, await poll(origin)]).toEqual([origin, { outcome: "origin_not_allowed", readableBy: undefined }]);
    }
  });

  test("another customer's origin, which some site does allow, gets no further", async () => {
    const origin = "https://other.example";
    expect((await send("POST", "/v1/visitor-sessions", { ...json, origin }, opening())).status).toBe(403);
    for (const path of ["/v1/conversations", `/v1/conversations/${conversationId}/stream`]) {
      expect((await send("GET", path, { ...bearer(), origin })).status).toBe(403);
    }
    expect(await socket(origin)).toBe("origin_not_allowed");
    expect((await poll(origin)).outcome).toBe("origin_not_allowed");
  });

  test("the site's own origin is let in by every way", async () => {
    expect((await send("POST", "/v1/visitor-sessions", { ...json, origin: ORIGIN }, opening())).status).toBe(201);
    expect(
      (await send("POST", "/v1/visitor-sessions", { ...json, origin: "https://a.wild.example" }, opening())).status,
    ).toBe(201);
    const listed = await send("GET", "/v1/conversations", { ...bearer(), origin: ORIGIN });
    expect([listed.status, listed.headers["access-control-allow-origin"]]).toEqual([200, ORIGIN]);
    expect(listed.headers["access-control-allow-credentials"]).toBeUndefined();
    const path = `/v1/conversations/${conversationId}/stream`;
    expect((await send("GET", path, { ...bearer(), origin: ORIGIN })).text).toBe("a stream");
    expect(await socket(ORIGIN)).toBe("connected");
    expect(await poll(ORIGIN)).toEqual({ outcome: "connected", readableBy: ORIGIN });
  });
});

test("a publishable key opens no route but its one, however it is sent", async () => {
  const key = fixture.demo.publishableKey;
  /** They take no bearer: a token in the body is the credential. */
  const byToken = new Set(["POST /v1/invitations/read", "POST /v1/invitations/accept"]);
  let tried = 0;
  for (const operation of await operationsOf(fixture)) {
    if (operation.name === "POST /v1/visitor-sessions") continue;
    const path = pathOf(operation, furnished.own);
    const body = operation.method === "GET" ? {} : { body: byToken.has(operation.name) ? { token: key } : {} };
    for (const [headers, query] of [
      [{ authorization: `Bearer ${key}` }, ""],
      [{ authorization: `bearer   ${key}  ` }, ""],
      [{ authorization: `Bearer ${key}`, origin: ORIGIN }, ""],
      [{ authorization: `Basic ${Buffer.from(`${key}:`).toString("base64")}` }, ""],
      [{ authorization: key }, ""],
      [{ "x-api-key": key }, ""],
      [{ cookie: `better-auth.session_token=${key}`, origin: fixture.url }, ""],
      [{}, `?key=${key}&token=${key}&publishableKey=${key}`],
    ] as const) {
      const { status, body: problem } = await call(fixture, operation.method, `${path}${query}`, {
        headers,
        ...body,
      });
      const expected = byToken.has(operation.name) ? [400, 401, 403, 404] : [401, 403];
      expect([operation.name, headers, problem.code, expected.includes(status)]).toEqual([
        operation.name,
        headers,
        problem.code,
        true,
      ]);
      tried++;
    }
  }
  expect(tried).toBeGreaterThan(300);
});
