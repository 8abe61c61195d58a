import { afterAll, beforeAll, expect, test } from "vitest";
import { openSpine, openTenant, startConversation, visitorOf, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { uuidOf } from "../ids.ts";
import type { ClientTool } from "./client-tool.ts";
import { offeredTools, type OfferingPage } from "./offered-tools.ts";
import { registerClientTools } from "./register-client-tools.ts";

let spine: Spine;
let tenant: TestTenant;
let visitor: Ctx;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  visitor = await visitorOf(tenant);
});
afterAll(() => spine.close());

const tool = (name: string, more: Partial<ClientTool> = {}): ClientTool => ({
  name,
  description: `Does ${name}`,
  parameters: { type: "object" },
  ...more,
});
const at = (ctx: Ctx, ms: number): Ctx => ({ ...ctx, services: { ...ctx.services, clock: () => ms } });
const begin = () => startConversation({ ...tenant, ctx: visitor });
const pagesAt = statement<{ pages: OfferingPage[] | null }>(
  "pages_at",
  "select offered_client_tools($1, $2, $3) as pages",
);
async function namesAt(conversationId: string, ms: number): Promise<string[]> {
  const values = [uuidOf(visitor.tenantId), uuidOf(conversationId), new Date(ms)];
  const [row] = await visitor.services.db.query(pagesAt, values);
  return offeredTools(row?.pages ?? []).map(({ name, pageId }) => `${pageId}:${name}`);
}
const now = Date.now();

test("a page's tools are offered for a minute after it last said so, and no longer once it takes them away", async () => {
  const conversationId = await begin();
  const put = (ms: number, tools: ClientTool[]) =>
    registerClientTools(at(visitor, ms), { conversationId, pageId: "a", tools });
  expect(await put(now, [tool("cart")])).toEqual({
    expiresAt: new Date(now + 60_000).toISOString(),
    problems: [],
  });
  expect(await namesAt(conversationId, now + 59_999)).toEqual(["a:cart"]);
  expect(await namesAt(conversationId, now + 60_000)).toEqual([]);
  await put(now + 25_000, [tool("cart"), tool("price")]);
  expect(await namesAt(conversationId, now + 84_999)).toEqual(["a:cart", "a:price"]);
  await put(now + 30_000, []);
  expect(await namesAt(conversationId, now + 30_000)).toEqual([]);
});

test("of two pages that offer the same name the newer one is asked, however often the older says it again", async () => {
  const conversationId = await begin();
  const put = (pageId: string, ms: number) =>
    registerClientTools(at(visitor, ms), { conversationId, pageId, tools: [tool("cart"), tool(pageId)] });
  await put("old", now);
  await put("new", now + 1);
  await put("old", now + 2);
  expect(await namesAt(conversationId, now + 3)).toEqual(["new:cart", "new:new", "old:old"]);
});

test("ten pages at most, and those that came last", async () => {
  const conversationId = await begin();
  for (let page = 0; page < 12; page++) {
    const tools = Array.from({ length: 3 }, (_, index) => tool(`t${page}_${index}`));
    await registerClientTools(at(visitor, now + page), { conversationId, pageId: `p${page}`, tools });
  }
  const offered = await namesAt(conversationId, now + 20);
  expect(offered).toHaveLength(30);
  expect(offered[0]).toBe("p11:t11_0");
  const { rows } = await spine.owner.query("select 1 from client_tools where conversation_id = $1", [
    conversationId.slice(5),
  ]);
  expect(rows).toHaveLength(10);
});

test("only a visitor's browser offers tools, and only in its own conversation", async () => {
  const conversationId = await begin();
  const input = { conversationId, pageId: "a", tools: [tool("cart")] };
  await expect(registerClientTools(tenant.ctx, input)).rejects.toMatchObject({ code: "forbidden" });
  const other = await visitorOf(tenant);
  await expect(registerClientTools(other, input)).rejects.toMatchObject({ code: "not_found" });
});

test("a tool that cannot be offered takes nothing from the others; the answer says why", async () => {
  const conversationId = await begin();
  const tools = [tool("cart"), tool("bad", { parameters: { type: "string" } }), tool("2 hats"), tool("price")];
  const { problems } = await registerClientTools(visitor, { conversationId, pageId: "a", tools });
  expect(problems.map(({ tool }) => tool)).toEqual(["bad", "2 hats"]);
  expect(await namesAt(conversationId, Date.now())).toEqual(["a:cart", "a:price"]);
  await registerClientTools(visitor, { conversationId, pageId: "a", tools: [tool("2 hats")] });
  expect(await namesAt(conversationId, Date.now())).toEqual([]);
});
