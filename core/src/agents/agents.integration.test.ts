import { afterAll, beforeAll, expect, test } from "vitest";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import {
  addWorker,
  ask,
  claimFor,
  openSpine,
  openTenant,
  startConversation,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { createAgent } from "./create-agent.ts";
import { createAgentConfigReader } from "./get-agent-config.ts";
import { getAgent } from "./get-agent.ts";
import { listAgentVersions } from "./list-agent-versions.ts";
import { listAgents } from "./list-agents.ts";
import { publishAgent } from "./publish-agent.ts";
import { updateAgent } from "./update-agent.ts";

let spine: Spine;
let tenant: TestTenant;
let other: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  [tenant, other] = await Promise.all([openTenant(spine), openTenant(spine)]);
});
afterAll(() => spine.close());

const create = (name: string) => createAgent(tenant.ctx, { name, config: agentConfig.parse({}) });

test("a draft is nobody's until it is published; what is published stays while the draft moves on", async () => {
  const { id } = await create("Helper");
  expect(await getAgent(tenant.ctx, id)).toMatchObject({ publishedVersion: null, hasUnpublishedChanges: true });
  await expect(startConversation({ ...tenant, agentId: id as `agent_${string}` })).rejects.toMatchObject({
    code: "not_found",
  });
  await publishAgent(tenant.ctx, id);
  expect(await getAgent(tenant.ctx, id)).toMatchObject({ publishedVersion: 1, hasUnpublishedChanges: false });
  const changed = await updateAgent(tenant.ctx, { agentId: id, name: "Renamed", config: { greeting: "Hello" } });
  expect(changed).toMatchObject({
    name: "Renamed",
    hasUnpublishedChanges: true,
    draft: { greeting: "Hello", suggestions: [] },
  });
  const [version] = (await listAgentVersions(tenant.ctx, id, { limit: 5, cursor: null })).items;
  expect(version).toMatchObject({ version: 1, config: { greeting: null } });
  await updateAgent(tenant.ctx, { agentId: id, config: { greeting: null } });
  expect(await getAgent(tenant.ctx, id)).toMatchObject({ name: "Renamed", hasUnpublishedChanges: false });
});

test("a run keeps the version it was started with", async () => {
  const worker = await addWorker(spine);
  const { run } = await ask(tenant.ctx, await startConversation(tenant));
  await updateAgent(tenant.ctx, { agentId: tenant.agentId, config: { instructions: "Be brief." } });
  await publishAgent(tenant.ctx, tenant.agentId);
  const read = createAgentConfigReader(spine.services);
  const { agentVersion } = await claimFor(spine, worker, run.id);
  expect((await read(tenant.id, tenant.agentId, agentVersion)).config.instructions).toBe(
    "You are a helpful assistant.",
  );
  const { run: next } = await ask(tenant.ctx, await startConversation(tenant));
  const claim = await claimFor(spine, worker, next.id);
  expect((await read(tenant.id, tenant.agentId, claim.agentVersion)).config.instructions).toBe("Be brief.");
  await expect(read(other.id, tenant.agentId, agentVersion)).rejects.toThrow("has no version");
});

test("publishing at the same moment makes versions one after the other; changes at the same moment are all kept", async () => {
  const { id } = await create("Busy");
  const versions = await Promise.all(Array.from({ length: 6 }, () => publishAgent(tenant.ctx, id)));
  expect(versions.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await getAgent(tenant.ctx, id)).toMatchObject({ publishedVersion: 6 });
  await Promise.all([
    updateAgent(tenant.ctx, { agentId: id, config: { greeting: "Hello" } }),
    updateAgent(tenant.ctx, { agentId: id, config: { suggestions: ["Hours?"] } }),
    updateAgent(tenant.ctx, { agentId: id, name: "Still busy", config: {} }),
  ]);
  expect(await getAgent(tenant.ctx, id)).toMatchObject({
    name: "Still busy",
    draft: { greeting: "Hello", suggestions: ["Hours?"] },
  });
  const first = await listAgentVersions(tenant.ctx, id, { limit: 4, cursor: null });
  expect(first.items.map(({ version }) => version)).toEqual([6, 5, 4, 3]);
  const rest = await listAgentVersions(tenant.ctx, id, { limit: 4, cursor: first.nextCursor });
  expect(rest).toMatchObject({ items: [{ version: 2 }, { version: 1 }], nextCursor: null });
});

test("another tenant's agents are unknown, to read, to change, to publish and to list", async () => {
  for (const work of [
    () => getAgent(other.ctx, tenant.agentId),
    () => updateAgent(other.ctx, { agentId: tenant.agentId, config: {} }),
    () => publishAgent(other.ctx, tenant.agentId),
    () => listAgentVersions(other.ctx, tenant.agentId, { limit: 1, cursor: null }),
    () => getAgent(other.ctx, "agent_1"),
  ]) {
    await expect(work()).rejects.toMatchObject({ code: "not_found" });
  }
  expect((await listAgents(other.ctx, { limit: 10, cursor: null })).items.map(({ id }) => id)).toEqual([other.agentId]);
});
