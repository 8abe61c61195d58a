/** A page that knows its visitors: the widget becomes them, and forgets them when they sign out. */
import type { Site } from "@agent-engine/protocol/administration.ts";
import type { Conversation, EventPage, Page } from "@agent-engine/protocol/resources.ts";
import type { NewIdentitySecret, VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import { signIdentity } from "@agent-engine/testing/customer-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apiAt, type Api } from "./api-client.ts";
import { openDemoShop, type DemoShop } from "./demo-shop.ts";
import { visit, type Visitor } from "./visitor.ts";

/** What a page sees of the widget. */
interface Customer {
  AgentWidget: {
    identify(identity: string | (() => Promise<string>)): void;
    reset(): Promise<void>;
    on(event: "error", listener: (event: CustomEvent) => void): void;
  };
}

let shop: DemoShop;
let api: Api;
let site: Site;
let secret: string;

beforeAll(async () => {
  shop = await openDemoShop({ model: true });
  shop.model.setScript(() => ({ steps: [{ kind: "text", text: "Wool dries flat." }] }));
  api = apiAt(shop.apiUrl, shop.secretKey);
  const { items } = await api.request<Page<Site>>("GET", "/v1/sites");
  const [first] = items;
  if (!first) throw new Error("the demo has no site");
  site = first;
  secret = (await api.request<NewIdentitySecret>("POST", `/v1/sites/${site.id}/identity-secret`, {})).secret;
});
afterAll(() => shop?.stop());

const tokenOf = (sub: string) => signIdentity(secret, { sub, aud: site.publishableKey, name: "Ada" });

async function personOf(sub: string): Promise<VisitorProfile | undefined> {
  return (await api.request<Page<VisitorProfile>>("GET", `/v1/visitors?externalId=${sub}`)).items[0];
}

/** What a visitor has said, by conversation. */
async function saidBy(visitorId: string): Promise<string[][]> {
  const { items } = await api.request<Page<Conversation>>("GET", "/v1/conversations?limit=100");
  const theirs = items.filter((conversation) => conversation.visitorId === visitorId);
  return Promise.all(
    theirs.map(async ({ id }) => {
      const events = await api.request<EventPage>("GET", `/v1/conversations/${id}/events?limit=1000`);
      const roles = new Map<string, string | undefined>();
      return events.items.flatMap(({ event }) => {
        if (event.type === "TEXT_MESSAGE_START") roles.set(event.messageId, event.role);
        return event.type === "TEXT_MESSAGE_CONTENT" && roles.get(event.messageId) === "user" ? [event.delta] : [];
      });
    }),
  );
}

async function asks(visitor: Visitor, text: string): Promise<void> {
  await visitor.ask(text);
  await visitor.sees(text);
  await visitor.isDone();
}

test("who is identified keeps what they said, on every tab and device; who signs out leaves nothing behind", async () => {
  const visitor = await visit(shop);
  await visitor.open();
  await asks(visitor, "How does wool dry?");
  const other = await visitor.anotherTab();
  await other.open();
  await other.sees("How does wool dry?");

  await visitor.page.evaluate((token) => (window as unknown as Customer).AgentWidget.identify(token), tokenOf("ada"));
  const ada = await waitFor(() => personOf("ada"), { describe: "the visitor to be known" });
  expect(ada).toMatchObject({ name: "Ada", externalId: "ada" });
  await asks(visitor, "And linen?");
  await other.sees("And linen?");
  await asks(other, "And silk?");
  await visitor.sees("And silk?");
  expect(await saidBy(ada.id)).toEqual([["How does wool dry?", "And linen?", "And silk?"]]);

  const phone = await visit(shop);
  // Before the chat is opened: the token is asked for when it is.
  const token = tokenOf("ada");
  await phone.page.evaluate((given) => (window as unknown as Customer).AgentWidget.identify(async () => given), token);
  await phone.open();
  await asks(phone, "Is the jacket in?");
  // What was written is shown before the server has it.
  await waitFor(async () => (await saidBy(ada.id)).flat().includes("Is the jacket in?"), {
    describe: "what the phone said to be Ada's",
  });
  expect((await personOf("ada"))?.id).toBe(ada.id);

  await visitor.page.evaluate(() => (window as unknown as Customer).AgentWidget.reset());
  for (const { panel } of [visitor, other]) await panel.getByText("How does wool dry?").waitFor({ state: "detached" });
  await asks(visitor, "Do you sell tents?");
  await other.sees("Do you sell tents?");
  expect((await saidBy(ada.id)).flat()).not.toContain("Do you sell tents?");
  // The other device has not signed out.
  await asks(phone, "And the hat?");
  expect((await saidBy(ada.id)).flat()).toContain("And the hat?");
  for (const each of [visitor, other, phone]) expect(each.complaints).toEqual([]);
  await visitor.context.close();
  await phone.context.close();
});

test("an identity that is refused leaves a chat that works, and a page that is told why", async () => {
  const visitor = await visit(shop);
  await visitor.page.evaluate(
    (token) => {
      const errors: unknown[] = [];
      Object.assign(window, { errors });
      (window as unknown as Customer).AgentWidget.on("error", (event) => errors.push(event.detail));
      (window as unknown as Customer).AgentWidget.identify(token);
    },
    signIdentity("isk_wrong", { sub: "eve", aud: site.publishableKey }),
  );
  await visitor.open();
  await asks(visitor, "Hello?");
  const errors = await visitor.page.evaluate(() => (window as unknown as { errors: unknown[] }).errors);
  expect(errors).toEqual([{ code: "unauthenticated", detail: expect.stringContaining("identityToken") }]);
  expect(await personOf("eve")).toBeUndefined();
  await visitor.context.close();
});
