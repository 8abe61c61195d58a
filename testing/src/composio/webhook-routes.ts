import { randomBytes } from "node:crypto";
import type { Held, Route } from "./route.ts";
import { newSecret, type Subscription } from "./webhooks.ts";
import { pageOf, Refusal } from "./wire.ts";

interface SubscriptionBody {
  webhook_url?: string;
  enabled_events?: string[];
  version?: string;
}

function subscriptionOf(held: Held, id: string | undefined): Subscription {
  const found = held.subscriptions.get(id ?? "");
  if (found) return found;
  throw new Refusal(404, "WebhookSubscription_NotFound", "Webhook subscription not found");
}

function withoutSecret({ secret: _secret, ...rest }: Subscription): Omit<Subscription, "secret"> {
  return rest;
}

export const webhookRoutes: Route[] = [
  {
    name: "webhooks.list",
    method: "GET",
    path: "/webhook_subscriptions",
    act: ({ query }, held) => ({
      status: 200,
      body: pageOf([...held.subscriptions.values()].map(withoutSecret), query),
    }),
  },
  {
    name: "webhooks.create",
    method: "POST",
    path: "/webhook_subscriptions",
    act({ body }, held) {
      const { webhook_url, enabled_events = [], version = "V3" } = (body ?? {}) as SubscriptionBody;
      if (!webhook_url) throw new Refusal(400, "Validation_Failed", "webhook_url is required");
      const id = `ws_${randomBytes(6).toString("hex")}`;
      const made: Subscription = { id, webhook_url, enabled_events, version, secret: newSecret() };
      held.subscriptions.set(id, made);
      return { status: 201, body: made };
    },
  },
  {
    name: "webhooks.get",
    method: "GET",
    path: "/webhook_subscriptions/*",
    act: ({ params }, held) => ({ status: 200, body: withoutSecret(subscriptionOf(held, params[0])) }),
  },
  {
    name: "webhooks.update",
    method: "PATCH",
    path: "/webhook_subscriptions/*",
    act({ params, body }, held) {
      const changed = Object.assign(subscriptionOf(held, params[0]), body as SubscriptionBody);
      return { status: 200, body: withoutSecret(changed) };
    },
  },
  {
    name: "webhooks.delete",
    method: "DELETE",
    path: "/webhook_subscriptions/*",
    act({ params }, held) {
      held.subscriptions.delete(subscriptionOf(held, params[0]).id);
      return { status: 200, body: { success: true } };
    },
  },
  {
    name: "webhooks.rotate",
    method: "POST",
    path: "/webhook_subscriptions/*/rotate_secret",
    act({ params }, held) {
      const subscription = subscriptionOf(held, params[0]);
      subscription.secret = newSecret();
      return { status: 200, body: subscription };
    },
  },
];
