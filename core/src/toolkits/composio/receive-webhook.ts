import type { Services } from "../../context.ts";
import { statement } from "../../db/statement.ts";
import type { WebhookEvent } from "./webhook.ts";

export interface WebhookEffects {
  /** An account's tokens can no longer be renewed. Does nothing the second time. */
  accountExpired: (services: Services, connectedAccountId: string) => Promise<unknown>;
}

const isSeen = statement("webhook_seen", "select 1 from webhook_receipts where id = $1");
/** Old ones go as new ones come; Composio gives up long before. */
const receive = statement(
  "webhook_receive",
  `with old as (
     delete from webhook_receipts where id in (
       select o.id from webhook_receipts o where o.received_at < now() - interval '30 days' order by o.received_at limit 100
     )
   )
   insert into webhook_receipts (id, type) values ($1, $2) on conflict do nothing`,
);

/**
 * Does what an event asks for, once. It is noted after it was done: a delivery that broke off is done again, and what it
 * does may be done twice.
 *
 * @returns `seen` for an event that was done before, `ignored` for one that means nothing here
 */
export async function receiveWebhook(
  services: Services,
  event: WebhookEvent,
  effects: WebhookEffects,
): Promise<"done" | "seen" | "ignored"> {
  const { db, log } = services;
  if ((await db.query(isSeen, [event.id])).length > 0) return "seen";
  const { id: accountId } = event.data;
  const isExpiry = event.type === "composio.connected_account.expired" && typeof accountId === "string";
  if (isExpiry) {
    await effects.accountExpired(services, accountId);
    log.info({ webhookId: event.id }, "Composio says that an account has expired");
  }
  await db.query(receive, [event.id, event.type.slice(0, 200)]);
  return isExpiry ? "done" : "ignored";
}
