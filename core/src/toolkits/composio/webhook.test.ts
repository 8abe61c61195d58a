import { Buffer } from "node:buffer";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeWebhook, signWebhook } from "@agent-engine/testing/composio/webhooks.ts";
import { checkWebhook } from "./webhook.ts";

const SECRET = "whsec_of_this_installation";
const NOW = Date.parse("2026-11-24T12:00:00Z");
const EXPIRED = "composio.connected_account.expired";

function sent(atMs = NOW, secret = SECRET) {
  const webhook = makeWebhook({ webhook_url: "http://x", secret }, EXPIRED, { id: "ca_1" }, atMs);
  const { id, timestamp, signature, body } = webhook;
  return { body, headers: { id, timestamp, signature } };
}
const check = ({ body, headers }: ReturnType<typeof sent>, nowMs = NOW) => checkWebhook(body, headers, SECRET, nowMs);

describe("a webhook", () => {
  test("that is Composio's own and of now is read", () => {
    const webhook = sent();
    expect(check(webhook)).toEqual({
      event: { id: webhook.headers.id, type: EXPIRED, data: { id: "ca_1" } },
      problem: null,
    });
  });

  test("that is signed with the old and the new secret is read", () => {
    const webhook = sent();
    webhook.headers.signature = `v1,${Buffer.from("another").toString("base64")} ${webhook.headers.signature}`;
    expect(check(webhook).problem).toBeNull();
  });

  test("by another secret is refused", () => {
    expect(check(sent(NOW, "another")).problem).toContain("signature");
  });

  test("that says something else than what was signed is refused", () => {
    const webhook = sent();
    expect(check({ ...webhook, body: webhook.body.replace("ca_1", "ca_2") }).problem).toContain("signature");
    expect(check({ ...webhook, headers: { ...webhook.headers, id: "msg_other" } }).problem).toContain("signature");
    const later = String(Number(webhook.headers.timestamp) + 1);
    expect(check({ ...webhook, headers: { ...webhook.headers, timestamp: later } }).problem).toContain("signature");
  });

  test("is taken within five minutes and not after, nor before its time", () => {
    const webhook = sent();
    expect(check(webhook, NOW + 299_000).problem).toBeNull();
    expect(check(webhook, NOW + 301_000).problem).toContain("five minutes");
    expect(check(webhook, NOW - 301_000).problem).toContain("five minutes");
  });

  test("without its headers is refused", () => {
    for (const name of ["id", "timestamp", "signature"] as const) {
      const webhook = sent();
      expect(
        check({ ...webhook, headers: { ...webhook.headers, [name]: undefined as unknown as string } }).problem,
      ).toContain("headers");
    }
  });

  test("that is signed and cannot be read is refused", () => {
    for (const body of ["no json", "{}", "[]", "null"]) {
      const timestamp = String(NOW / 1_000);
      const signature = signWebhook(SECRET, "msg_1", timestamp, body);
      expect(checkWebhook(body, { id: "msg_1", timestamp, signature }, SECRET, NOW).problem).toMatch(/body/);
    }
  });

  test("with any other signature is refused, and nothing throws", () => {
    const { body, headers } = sent();
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String().map((text) => `v1,${text}`),
        ),
        (signature) => {
          expect(checkWebhook(body, { ...headers, signature }, SECRET, NOW).event).toBeNull();
        },
      ),
    );
  });
});
