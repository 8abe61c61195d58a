/** Whether a webhook is Composio's own, and of now: its body is believed to nobody else. */
import { createHmac, timingSafeEqual } from "node:crypto";

export const WEBHOOK_TOLERANCE_MS = 5 * 60_000;

export interface WebhookHeaders {
  id: string | undefined;
  /** Seconds since the epoch. */
  timestamp: string | undefined;
  /** `v1,<base64>`, and more of them after a space while a secret is being replaced. */
  signature: string | undefined;
}

export interface WebhookEvent {
  /** The same for every delivery of one event. */
  id: string;
  type: string;
  data: Record<string, unknown>;
}

export type WebhookCheck = { event: WebhookEvent; problem: null } | { event: null; problem: string };

/** `body`: as it came, byte for byte. Never throws. */
export function checkWebhook(body: string, headers: WebhookHeaders, secret: string, nowMs: number): WebhookCheck {
  const { id, timestamp, signature } = headers;
  if (!id || id.length > 200 || !timestamp || !signature) return refused("its headers are not all there");
  if (!/^\d{1,12}$/.test(timestamp)) return refused("its timestamp is no number of seconds");
  if (Math.abs(nowMs - Number(timestamp) * 1_000) > WEBHOOK_TOLERANCE_MS) {
    return refused("it is more than five minutes old, or from the future: check the clocks");
  }
  const expected = createHmac("sha256", secret).update(`${id}.${timestamp}.${body}`).digest();
  const isSigned = signature
    .split(" ")
    .flatMap((part) => (part.startsWith("v1,") ? [Buffer.from(part.slice(3), "base64")] : []))
    .some((given) => given.length === expected.length && timingSafeEqual(given, expected));
  if (!isSigned) return refused("its signature is not by this installation's secret");
  return readEvent(id, body);
}

function readEvent(id: string, body: string): WebhookCheck {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return refused("its body is not JSON");
  }
  const { type, data } = (typeof parsed === "object" && parsed !== null ? parsed : {}) as Record<string, unknown>;
  if (typeof type !== "string") return refused("its body names no type");
  const isRecord = typeof data === "object" && data !== null && !Array.isArray(data);
  return { event: { id, type, data: isRecord ? (data as Record<string, unknown>) : {} }, problem: null };
}

function refused(problem: string): WebhookCheck {
  return { event: null, problem };
}
