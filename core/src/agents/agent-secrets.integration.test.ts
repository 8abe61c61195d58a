import type { ToolkitChoice } from "@agent-engine/protocol/resources.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { AgentId } from "@agent-engine/protocol/ids.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listAuditLog } from "../audit/list-audit-log.ts";
import { uuidOf } from "../ids.ts";
import { isSecretReference, secretSettings } from "../toolkits/secret-settings.ts";
import { createAgent } from "./create-agent.ts";
import { createAgentConfigReader } from "./get-agent-config.ts";
import { getAgent } from "./get-agent.ts";
import { listAgentVersions } from "./list-agent-versions.ts";
import { publishAgent } from "./publish-agent.ts";
import { sealOpenSettings } from "./seal-open-settings.ts";
import { updateAgent } from "./update-agent.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
});
afterAll(() => spine.close());

const SECRET = "Bearer canary-9c41-abcd";

function shop(headers: Record<string, unknown>, settings: Record<string, unknown> = {}): ToolkitChoice {
  const operations = [{ name: "stock", description: "How many are left", method: "GET", path: "/stock" }];
  return {
    toolkit: "http",
    tools: {},
    defaultPolicy: "auto",
    settings: { name: "shop", baseUrl: "https://shop.example/api", operations, headers, ...settings },
  };
}

const make = (...toolkits: ToolkitChoice[]) =>
  createAgent(tenant.ctx, { name: "Helper", config: agentConfig.parse({ toolkits }) });

const change = (agentId: string, ...toolkits: ToolkitChoice[]) =>
  updateAgent(tenant.ctx, { agentId, config: { toolkits } });

const headersOf = ({ draft }: { draft: { toolkits: ToolkitChoice[] } }, index = 0) =>
  draft.toolkits[index]?.settings.headers;

async function secretsOf(agentId: string): Promise<number> {
  const { rows } = await spine.owner.query("select 1 from secrets where owner_id = $1", [uuidOf(agentId)]);
  return rows.length;
}

/** What a worker would send with a version. */
async function opened(agentId: string, version: number): Promise<Record<string, unknown>> {
  const { config, secrets } = await createAgentConfigReader(spine.services)(tenant.id, agentId as AgentId, version);
  const found = config.toolkits.flatMap((choice) => secretSettings(choice));
  return Object.fromEntries(
    found.map(({ field, value }) => [
      field.split(" ")[1],
      isSecretReference(value) ? secrets?.get(value.secret) : value,
    ]),
  );
}

test("a tool's credentials are answered as masks wherever an agent is, and stored sealed", async () => {
  const created = await make(shop({ Authorization: SECRET, "x-key": "short", "x-api-version": "2" }));
  const shown = { Authorization: "••••abcd", "x-key": "••••", "x-api-version": "2" };
  expect(headersOf(created)).toEqual(shown);
  expect(headersOf(await getAgent(tenant.ctx, created.id))).toEqual(shown);
  const published = await publishAgent(tenant.ctx, created.id);
  expect(published.config.toolkits[0]?.settings.headers).toEqual(shown);
  const [version] = (await listAgentVersions(tenant.ctx, created.id, { limit: 1, cursor: null })).items;
  expect(version?.config.toolkits[0]?.settings.headers).toEqual(shown);
  expect(await opened(created.id, 1)).toEqual({ authorization: SECRET, "x-key": "short" });
  const { rows } = await spine.owner.query<{ all: string }>(
    `select (select string_agg(a::text, ',') from agents a) || (select string_agg(v::text, ',') from agent_versions v)
       || (select string_agg(l.entry::text, ',') from audit_log l) || (select string_agg(s::text, ',') from secrets s) as all`,
  );
  expect(rows[0]?.all).not.toContain("canary");
});

test("a draft that is sent back as it was read is no change, and what did not change is not sealed anew", async () => {
  const { id } = await make(shop({ authorization: SECRET }));
  await publishAgent(tenant.ctx, id);
  const { draft } = await getAgent(tenant.ctx, id);
  expect(await updateAgent(tenant.ctx, { agentId: id, config: draft })).toMatchObject({ hasUnpublishedChanges: false });
  expect(await change(id, shop({ authorization: SECRET }))).toMatchObject({ hasUnpublishedChanges: false });
  expect(await secretsOf(id)).toBe(1);
  const changed = await change(id, shop({ authorization: "Bearer canary-9c41-wxyz" }));
  expect(changed).toMatchObject({ hasUnpublishedChanges: true });
  expect(headersOf(changed)).toEqual({ authorization: "••••wxyz" });
  expect(await opened(id, 1)).toEqual({ authorization: SECRET });
  await publishAgent(tenant.ctx, id);
  expect(await opened(id, 2)).toEqual({ authorization: "Bearer canary-9c41-wxyz" });
  expect(await opened(id, 1)).toEqual({ authorization: SECRET });
});

test("a mask stands for its value under another path or name, and in any place of the list", async () => {
  const { id } = await make(
    shop({ authorization: SECRET }),
    shop({ authorization: "Bearer other-1234" }, { name: "two" }),
  );
  const moved = await change(
    id,
    shop({ authorization: "••••1234" }, { name: "two" }),
    shop({ Authorization: "••••abcd" }, { name: "renamed", baseUrl: "https://shop.example/v2" }),
  );
  expect(headersOf(moved, 0)).toEqual({ authorization: "••••1234" });
  expect(headersOf(moved, 1)).toEqual({ Authorization: "••••abcd" });
  await publishAgent(tenant.ctx, id);
  const { config, secrets } = await createAgentConfigReader(spine.services)(tenant.id, id as AgentId, 1);
  const values = config.toolkits.flatMap((choice) => secretSettings(choice)).map(({ value }) => value);
  expect(values.map((value) => (isSecretReference(value) ? secrets?.get(value.secret) : null))).toEqual([
    "Bearer other-1234",
    SECRET,
  ]);
});

test("a mask is refused where it would send the value to another address, or stands for none", async () => {
  const { id } = await make(shop({ authorization: SECRET }));
  for (const choice of [
    shop({ authorization: "••••abcd" }, { baseUrl: "https://evil.example/api" }),
    shop({ authorization: "••••abcd" }, { baseUrl: "http://shop.example/api" }),
    shop({ authorization: "••••zzzz" }),
    shop({ "x-other": "••••abcd" }),
  ]) {
    await expect(change(id, choice)).rejects.toMatchObject({
      code: "invalid_request",
      detail: expect.stringMatching(/^toolkits\[0\]\.settings\.headers\.[a-z-]+ is masked.*Send the value itself\.$/),
    });
  }
  await expect(make(shop({ authorization: "••••abcd" }))).rejects.toMatchObject({ code: "invalid_request" });
  const foreign = await openTenant(spine);
  const theirs = updateAgent(foreign.ctx, { agentId: id, config: { toolkits: [shop({ authorization: "••••abcd" })] } });
  await expect(theirs).rejects.toMatchObject({ code: "not_found" });
});

test("nobody can send a reference to a secret instead of a value", async () => {
  const { id } = await make(shop({ authorization: SECRET }));
  const { rows } = await spine.owner.query<{ id: string }>("select id::text from secrets where owner_id = $1", [
    uuidOf(id),
  ]);
  const secret = `secret_${rows[0]?.id.replaceAll("-", "")}`;
  await expect(change(id, shop({ authorization: { secret, hint: "abcd" } }))).rejects.toMatchObject({
    code: "invalid_request",
  });
});

test("what a draft no longer uses is deleted, unless a version does", async () => {
  const { id } = await make(shop({ authorization: SECRET, "x-key": "another-secret" }));
  await change(id, shop({ authorization: "••••abcd" }));
  expect(await secretsOf(id)).toBe(1);
  await publishAgent(tenant.ctx, id);
  await change(id);
  expect(await secretsOf(id)).toBe(1);
  expect(await opened(id, 1)).toEqual({ authorization: SECRET });
});

test("the audit log says that a credential was changed, and neither the old nor the new one", async () => {
  const { id } = await make(shop({ authorization: SECRET }));
  await change(id, shop({ authorization: "Bearer canary-new1-abcd" }));
  const [entry] = (await listAuditLog(tenant.ctx, { limit: 1, cursor: null }, {})).items;
  expect(entry).toMatchObject({ action: "agent.updated", target: { id } });
  expect(Object.keys(entry?.after ?? {})).toEqual(["toolkits"]);
  expect(JSON.stringify(entry)).not.toContain("canary");
});

test("credentials from before there was a place for them work, and a start seals them, versions included", async () => {
  const { id } = await make(shop({ "x-api-version": "2" }));
  await publishAgent(tenant.ctx, id);
  await publishAgent(tenant.ctx, id);
  const plain = JSON.stringify(
    agentConfig.parse({ toolkits: [shop({ authorization: SECRET, "x-api-version": "2" })] }),
  );
  const older = JSON.stringify(agentConfig.parse({ toolkits: [shop({ authorization: "Bearer older-one-canary" })] }));
  await spine.owner.query("update agents set draft = $2 where id = $1", [uuidOf(id), plain]);
  await spine.owner.query("update agent_versions set config = $2 where agent_id = $1 and version = 2", [
    uuidOf(id),
    plain,
  ]);
  await spine.owner.query("update agent_versions set config = $2 where agent_id = $1 and version = 1", [
    uuidOf(id),
    older,
  ]);
  // As it is, nobody is shown it, and it works.
  expect(headersOf(await getAgent(tenant.ctx, id))).toEqual({ authorization: "••••", "x-api-version": "2" });
  expect(await opened(id, 2)).toEqual({ authorization: SECRET });

  // Two processes start at once.
  const sealed = await Promise.all([sealOpenSettings(spine.services), sealOpenSettings(spine.services)]);
  expect(Math.max(...sealed)).toBeGreaterThanOrEqual(1);
  const { rows } = await spine.owner.query<{ all: string }>(
    "select (select draft::text from agents where id = $1) || (select string_agg(config::text, ',') from agent_versions where agent_id = $1) as all",
    [uuidOf(id)],
  );
  expect(rows[0]?.all).not.toContain("canary");
  expect(await opened(id, 1)).toEqual({ authorization: "Bearer older-one-canary" });
  expect(await opened(id, 2)).toEqual({ authorization: SECRET });
  expect(await getAgent(tenant.ctx, id)).toMatchObject({ hasUnpublishedChanges: false });
  expect(headersOf(await getAgent(tenant.ctx, id))).toEqual({ authorization: "••••abcd", "x-api-version": "2" });
  expect(await sealOpenSettings(spine.services)).toBe(0);
});

test("the function that seals a version changes nothing else of it, and nothing of another tenant's", async () => {
  const { id } = await make(shop({}));
  await publishAgent(tenant.ctx, id);
  const config = (more: object, headers: Record<string, unknown>) =>
    JSON.stringify({ ...agentConfig.parse({ toolkits: [shop(headers)] }), ...more });
  await spine.owner.query("update agent_versions set config = $2 where agent_id = $1", [
    uuidOf(id),
    config({}, { authorization: SECRET }),
  ]);
  const client = await spine.services.db.pool.connect();
  try {
    const attempt = async (tenantId: string, sealed: string) => {
      await client.query(`begin; set local app.tenant_id = '${uuidOf(tenantId)}'`);
      const done = await client.query("select seal_version($1, 1, $2)", [uuidOf(id), sealed]).then(
        () => true,
        () => false,
      );
      await client.query("rollback");
      return done;
    };
    const reference = { authorization: { secret: `secret_${"0".repeat(32)}`, hint: "" } };
    expect(await attempt(tenant.id, config({ instructions: "Obey me." }, reference))).toBe(false);
    expect(await attempt(tenant.id, config({ toolkits: [] }, reference))).toBe(false);
    expect(await attempt(tenant.id, config({}, { authorization: "another" }))).toBe(false);
    expect(await attempt((await openTenant(spine)).id, config({}, reference))).toBe(false);
    expect(await attempt(tenant.id, config({}, reference))).toBe(true);
  } finally {
    client.release();
  }
  await sealOpenSettings(spine.services);
});
