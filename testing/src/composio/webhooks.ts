/** Webhook subscriptions, and the events that Composio sends to them, signed. */
import { createHmac, randomBytes, randomUUID } from "node:crypto";

export interface Subscription {
  id: string;
  webhook_url: string;
  enabled_events: string[];
  version: string;
  secret: string;
}

export interface SentWebhook {
  url: string;
  id: string;
  /** Seconds since the epoch. */
  timestamp: string;
  body: string;
  signature: string;
}

export function newSecret(): string {
  return randomBytes(24).toString("hex");
}

/** `v1,` and the HMAC-SHA256 of `<id>.<timestamp>.<body>`, keyed with the secret as it is. */
export function signWebhook(secret: string, id: string, timestamp: string, body: string): string {
  return `v1,${createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}

/** An event as it goes over the wire. `atMs`: when it says that it was sent. */
export function makeWebhook(
  subscription: Pick<Subscription, "webhook_url" | "secret">,
  type: string,
  data: unknown,
  atMs: number,
): SentWebhook {
  const id = `msg_${randomUUID()}`;
  const timestamp = String(Math.floor(atMs / 1_000));
  const body = JSON.stringify({
    id,
    timestamp: new Date(atMs).toISOString(),
    type,
    data,
    metadata: { project_id: "pr_fake", org_id: "org-fake" },
  });
  return {
    url: subscription.webhook_url,
    id,
    timestamp,
    body,
    signature: signWebhook(subscription.secret, id, timestamp, body),
  };
}

export async function sendWebhook(webhook: SentWebhook): Promise<number> {
  const response = await fetch(webhook.url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "webhook-id": webhook.id,
      "webhook-timestamp": webhook.timestamp,
      "webhook-signature": webhook.signature,
    },
    body: webhook.body,
  });
  await response.arrayBuffer();
  return response.status;
}
