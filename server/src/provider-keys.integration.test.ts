import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createProviderKeyReader } from "@agent-engine/core/models/provider-keys.ts";
import type { ProviderKey } from "@agent-engine/protocol/provider-keys.ts";
import type { Page, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { call, scopedKey, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let secret: string;

beforeAll(async () => {
  fixture = await startServerFixture();
  secret = fixture.demo.secretKey;
});
afterAll(() => fixture.stop());

const give = (body: unknown, token = secret) =>
  call<ProviderKey>(fixture, "POST", "/v1/provider-keys", { token, body });
const list = async (token = secret) =>
  (await call<Page<ProviderKey>>(fixture, "GET", "/v1/provider-keys", { token })).body.items;
const forget = (id: string, token = secret) => call(fixture, "DELETE", `/v1/provider-keys/${id}`, { token });

const API_KEY = "vendor-canary-0f9e8d-wxyz";

test("a key is shown once it is given by its last four characters, and never again in whole", async () => {
  const made = await give({ provider: "openai", apiKey: API_KEY });
  expect(made).toMatchObject({
    status: 201,
    body: { provider: "openai", name: "openai", baseUrl: null, last4: "wxyz", id: expect.stringMatching(/^pkey_/) },
  });
  const named = await give({
    name: " Models in Bergen ",
    provider: "openai-compatible",
    apiKey: API_KEY,
    baseUrl: "https://models.example/v1/",
  });
  expect(named.body).toMatchObject({ name: "Models in Bergen", baseUrl: "https://models.example/v1" });
  const listed = await list();
  expect(listed.map(({ id }) => id)).toEqual([named.body.id, made.body.id]);
  expect(JSON.stringify([made.body, named.body, listed, fixture.logged])).not.toContain("canary");
});

test("a key is used from the moment it is given until the moment it is deleted", async () => {
  const reader = createProviderKeyReader(fixture.services);
  const used = async () => (await reader.of(fixture.other.tenantId)).map(({ apiKey }) => apiKey);
  const token = fixture.other.secretKey;
  expect(await used()).toEqual([]);
  const { body } = await give({ provider: "anthropic", apiKey: API_KEY }, token);
  expect(await used()).toEqual([API_KEY]);
  expect(await forget(body.id, token)).toMatchObject({ status: 204 });
  expect(await used()).toEqual([]);
  expect(await forget(body.id, token)).toMatchObject({ status: 404 });
  reader.close();
});

test.each([
  [{}, /`provider`.*`apiKey` is required/],
  [{ provider: "mistral", apiKey: API_KEY }, /`provider` must be one of "openai", "anthropic", "openai-compatible"/],
  [{ provider: "openai", apiKey: "short" }, /`apiKey` must be at least 8 characters/],
  [{ provider: "openai", apiKey: "with a space in it" }, /`apiKey` must be printable ASCII without spaces/],
  [{ provider: "openai", apiKey: "x".repeat(1_001) }, /`apiKey` must be at most/],
  [{ provider: "openai", apiKey: `sk_${"x".repeat(40)}` }, /a key of this platform/],
  [{ provider: "openai", apiKey: "sk-ant-api03-abcdef" }, /a key of Anthropic/],
  [{ provider: "anthropic", apiKey: "sk-proj-abcdef-123" }, /a key of OpenAI/],
  [{ provider: "openai", apiKey: API_KEY, baseUrl: "https://models.example" }, /`baseUrl` is only for/],
  [{ provider: "openai-compatible", apiKey: API_KEY }, /`baseUrl` is required/],
  [{ provider: "openai-compatible", apiKey: API_KEY, baseUrl: "models.example" }, /`baseUrl`/],
  [{ provider: "openai-compatible", apiKey: API_KEY, baseUrl: "https://u:p@models.example" }, /without user/],
  [{ provider: "openai-compatible", apiKey: API_KEY, baseUrl: "https://models.example/?a=b" }, /without user/],
  [{ provider: "openai", apiKey: API_KEY, extra: 1 }, /`extra` is not a field/],
])("what cannot be a key is refused, without quoting it: %j", async (body, detail) => {
  const answer = await call(fixture, "POST", "/v1/provider-keys", { token: secret, body });
  expect(answer.status).toBe(400);
  expect(answer.body.detail).toMatch(detail);
  expect(JSON.stringify(answer.body)).not.toContain("canary");
});

test("keys are for who has the permission, and another tenant's are unknown", async () => {
  const { body } = await give({ provider: "openai", apiKey: API_KEY });
  const reader = await scopedKey(fixture, "provider-keys:read");
  expect((await list(reader)).map(({ id }) => id)).toContain(body.id);
  expect(await forget(body.id, reader)).toMatchObject({ status: 403 });
  expect(await give({ provider: "openai", apiKey: API_KEY }, await scopedKey(fixture, "agents:write"))).toMatchObject({
    status: 403,
  });
  expect((await list(fixture.other.secretKey)).map(({ id }) => id)).not.toContain(body.id);
  expect(await forget(body.id, fixture.other.secretKey)).toMatchObject({ status: 404 });
  expect((await list()).map(({ id }) => id)).toContain(body.id);
});

describe("where the installation has no model", () => {
  test("a tenant's own key makes its agent a language model, as visitors are told", async () => {
    const told = async (): Promise<boolean> => {
      const session: VisitorSession = await visit(fixture, fixture.other, "https://other.example");
      return session.site.agent.isLanguageModel;
    };
    expect(await told()).toBe(false);
    const { body } = await give({ provider: "anthropic", apiKey: API_KEY }, fixture.other.secretKey);
    expect(await told()).toBe(true);
    await forget(body.id, fixture.other.secretKey);
    expect(await told()).toBe(false);
  });
});
