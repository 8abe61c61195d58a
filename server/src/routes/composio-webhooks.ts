import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Services } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { receiveWebhook, type WebhookEffects } from "@agent-engine/core/toolkits/composio/receive-webhook.ts";
import { checkWebhook } from "@agent-engine/core/toolkits/composio/webhook.ts";
import { readText } from "../http/body.ts";
import { clientAddress } from "../http/client-address.ts";
import type { AppEnv } from "../http/request.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";

export interface ComposioWebhookOptions {
  services: Services;
  /** Null: nobody may send any. */
  secret: string | null;
  effects: WebhookEffects;
  limiter: Pick<RateLimiter, "admitAddress">;
  trustedProxyHops: number;
}

const PATH = "/v1/composio/webhooks";

/** What Composio tells this installation. The signature over the body as it came is the credential. */
export function composioWebhookRoutes(app: OpenAPIHono<AppEnv>, options: ComposioWebhookOptions): void {
  const { services, secret, effects, limiter, trustedProxyHops } = options;
  app.post(PATH, async (c) => {
    c.set("route", PATH);
    await limiter.admitAddress("write", clientAddress(c, trustedProxyHops));
    if (secret === null) {
      throw new ProblemError("not_found", "This installation takes no webhooks: set COMPOSIO_WEBHOOK_SECRET.");
    }
    const headers = {
      id: c.req.header("webhook-id"),
      timestamp: c.req.header("webhook-timestamp"),
      signature: c.req.header("webhook-signature"),
    };
    const { event, problem } = checkWebhook(await readText(c.req.raw), headers, secret, services.clock());
    if (!event) {
      services.log.warn({ webhookId: headers.id?.slice(0, 100), problem }, "a webhook of Composio was refused");
      throw new ProblemError("unauthenticated", `The webhook was refused: ${problem}.`);
    }
    return c.json({ status: await receiveWebhook(services, event, effects) });
  });
}
