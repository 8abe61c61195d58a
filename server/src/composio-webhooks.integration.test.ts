import { createAdaptorServer } from "@hono/node-server";
import { OpenAPIHono } from "@hono/zod-openapi";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { pino } from "pino";
import { openServices, type OpenServices } from "@agent-engine/core/services.ts";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import { makeWebhook, sendWebhook } from "@agent-engine/testing/composio/webhooks.ts";
import { listen } from "@agent-engine/testing/listening.ts";
import { createTestDatabase } from "@agent-engine/testing/postgres.ts";
import { problemResponse, toProblemError } from "./http/problem.ts";
import type { AppEnv } from "./http/request.ts";
import { composioWebhookRoutes } from "./routes/composio-webhooks.ts";

const SECRET = "whsec_test";
let composio: ComposioServer;
let services: OpenServices;
let stop: () => Promise<void>;
let url: string;
let expired: string[] = [];
let breaks = false;

beforeAll(async () => {
  const database = await createTestDatabase();
  const models = {
    openaiApiKey: null,
    openaiBaseUrl: null,
    openaiModel: "m",
    anthropicApiKey: null,
    anthropicModel: "m",
  };
  const log = pino({ level: "silent" });
  services = await openServices({ redisUrl: null, secretKeys: ["k".repeat(32)], models }, database.ownerUrl, log);
  composio = await startComposioServer({ toolkits: 10 });
  const app = new OpenAPIHono<AppEnv>();
  app.onError((error) => problemResponse(toProblemError(error), "x"));
  composioWebhookRoutes(app, {
    services,
    secret: SECRET,
    effects: {
      accountExpired: async (_, id) => {
        if (breaks) throw new Error("the database went away");
        expired.push(id);
      },
    },
    limiter: { admitAddress: async () => null },
    trustedProxyHops: 0,
  });
  const http = createAdaptorServer({ fetch: app.fetch });
  url = `http://127.0.0.1:${await listen(http, 0)}/v1/composio/webhooks`;
  stop = async () => {
    http.close();
    await composio.stop();
    await services.close();
    await database.drop();
  };
});
afterAll(() => stop());
beforeEach(() => {
  expired = [];
  breaks = false;
});

function expiry(secret = SECRET, atMs = Date.now()) {
  const accountId = composio.connect({ toolkit: "gmail", userId: "tenant:t1" });
  return { accountId, webhook: composio.expiryOf(accountId, { webhook_url: url, secret }, atMs) };
}

describe("what Composio tells", () => {
  test("is believed once, however often it is sent", async () => {
    const { accountId, webhook } = expiry();
    expect([await sendWebhook(webhook), await sendWebhook(webhook)]).toEqual([200, 200]);
    expect(expired).toEqual([accountId]);
  });

  test("is done again when it broke off", async () => {
    const { accountId, webhook } = expiry();
    breaks = true;
    expect(await sendWebhook(webhook)).toBe(500);
    breaks = false;
    expect(await sendWebhook(webhook)).toBe(200);
    expect(expired).toEqual([accountId]);
  });

  test("means nothing with a forged signature, an old one, or a changed body", async () => {
    const forged = expiry("whsec_other").webhook;
    const old = expiry(SECRET, Date.now() - 6 * 60_000).webhook;
    const { webhook } = expiry();
    const changed = { ...webhook, body: webhook.body.replace(/"id":"ca_[^"]+"/, '"id":"ca_somebody"') };
    expect(await Promise.all([forged, old, changed].map(sendWebhook))).toEqual([401, 401, 401]);
    expect(expired).toEqual([]);
  });

  test("of other kinds is noted and left alone", async () => {
    const { webhook } = expiry();
    const other = makeWebhook({ webhook_url: webhook.url, secret: SECRET }, "composio.trigger.message", {}, Date.now());
    expect(await sendWebhook(other)).toBe(200);
    expect(expired).toEqual([]);
  });
});
