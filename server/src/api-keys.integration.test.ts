import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ApiKey, NewApiKey } from "@agent-engine/protocol/administration.ts";
import type { Page, Problem } from "@agent-engine/protocol/resources.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { callAs, member } from "./people-fixture.ts";
import { call, scopedKey, startServerFixture, type ServerFixture } from "./server-fixture.ts";

type Answered = NewApiKey & Pick<Problem, "detail">;

let fixture: ServerFixture;
let secret: string;
beforeAll(async () => {
  fixture = await startServerFixture();
  secret = fixture.demo.secretKey;
});
afterAll(() => fixture.stop());

const make = (body: object, token = secret, headers: Record<string, string> = {}) =>
  call<Answered>(fixture, "POST", "/v1/api-keys", { token, body: { name: "Key", ...body }, headers });
const list = async (token = secret) =>
  (await call<Page<ApiKey>>(fixture, "GET", "/v1/api-keys?limit=100", { token })).body.items;
const works = async (token: string) => (await call(fixture, "GET", "/v1/agents", { token })).status;

/** Time passes for the domain; the database's own clock stays. */
async function shifted<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const { clock } = fixture.services;
  fixture.services.clock = () => clock() + ms;
  try {
    return await work();
  } finally {
    fixture.services.clock = clock;
  }
}

describe("a secret key", () => {
  test("is shown once, and kept as a hash", async () => {
    const { status, body } = await make({ scopes: ["agents:read", "agents:read", "runs:read"] });
    expect([status, body]).toEqual([
      201,
      expect.objectContaining({ name: "Key", scopes: ["agents:read", "runs:read"], expiresAt: null, lastUsedAt: null }),
    ]);
    expect(body.key).toMatch(/^sk_[\w-]{43}$/);
    expect(body.key.startsWith(body.prefix)).toBe(true);
    const listed = (await list()).find(({ id }) => id === body.id);
    expect(listed).toBeDefined();
    expect(listed).not.toHaveProperty("key");
    expect(JSON.stringify(listed)).not.toContain(body.key);
    expect(await works(body.key)).toBe(200);
  });

  test("repeated under one Idempotency-Key is the same key, of which nothing readable is stored", async () => {
    const once = () => make({ scopes: ["agents:read"] }, secret, { "idempotency-key": "make-once" });
    const [first, again] = [await once(), await once()];
    expect(again.body).toEqual(first.body);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    const { rows } = await inOwnersName(
      "select response::text as response from idempotency_keys where key = 'make-once'",
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.["response"]).toContain("sealed");
    expect(rows[0]?.["response"]).not.toContain(first.body.key);
  });

  test("may do no more than who makes it", async () => {
    const maker = await scopedKey(fixture, "api-keys:write", "api-keys:read", "agents:read");
    expect((await make({ scopes: ["agents:read"] }, maker)).status).toBe(201);
    for (const scopes of [["agents:write"], ["agents:read", "members:write"], ["*"]]) {
      const { status, body } = await make({ scopes }, maker);
      expect([scopes, status, body.detail]).toEqual([scopes, 403, expect.stringMatching(/scope/)]);
    }
    const admin = await member(fixture, "admin");
    const byAdmin = (scopes: string[]) =>
      callAs<NewApiKey>(fixture, admin, "POST", "/v1/api-keys", { body: { name: "A", scopes } });
    expect((await byAdmin(["members:write", "agents:write"])).status).toBe(201);
    expect((await byAdmin(["*"])).status).toBe(403);
    const owner = await member(fixture, "owner");
    expect((await callAs(fixture, owner, "POST", "/v1/api-keys", { body: { name: "O", scopes: ["*"] } })).status).toBe(
      201,
    );
  });

  test.each([
    [{ scopes: ["agents:fly"] }, /agents:fly/],
    [{ scopes: [] }, /scopes/],
    [{ scopes: ["*"], expiresAt: "2020-01-01T00:00:00Z" }, /future/],
    [{ scopes: ["*"], expiresAt: "soon" }, /expiresAt/],
    [{ scopes: ["*"], name: "  " }, /name/],
    [{ scopes: ["*"], hash: "x" }, /hash/],
  ])("with %o is refused", async (body, detail) => {
    const answer = await make(body);
    expect([answer.status, answer.body.detail]).toEqual([400, expect.stringMatching(detail)]);
  });

  test("ends when it expires", async () => {
    // The database's clock decides; the key was made "yesterday" for an hour.
    const { body } = await shifted(-86_400_000, () =>
      make({ scopes: ["agents:read"], expiresAt: new Date(Date.now() - 3_600_000).toISOString() }),
    );
    expect(await works(body.key)).toBe(401);
  });

  test("is revoked at once, with the one it replaced, and is missing from then on", async () => {
    const { body } = await make({ scopes: ["agents:read"] });
    const rotated = await rotate(body.id, 60);
    const path = `/v1/api-keys/${body.id}`;
    expect((await call(fixture, "DELETE", path, { token: secret })).status).toBe(204);
    expect([await works(body.key), await works(rotated.body.key)]).toEqual([401, 401]);
    expect((await list()).map(({ id }) => id)).not.toContain(body.id);
    expect((await call(fixture, "DELETE", path, { token: secret })).status).toBe(404);
    expect((await rotate(body.id, 0)).status).toBe(404);
  });

  test("of another tenant is as missing as one that never was", async () => {
    const foreign = (await list(fixture.other.secretKey))[0]?.id ?? "";
    const answers = await Promise.all(
      [foreign, "key_00000000000000000000000000000000", "x"].flatMap((id) => [
        rotate(id, 0),
        call(fixture, "DELETE", `/v1/api-keys/${id}`, { token: secret }),
      ]),
    );
    expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, { ...body, requestId: "" }]))).size).toBe(
      1,
    );
    expect(answers[0]?.status).toBe(404);
    expect(await works(fixture.other.secretKey)).toBe(200);
  });
});

const rotate = (id: string, overlapSeconds: number, token = secret) =>
  call<Answered>(fixture, "POST", `/v1/api-keys/${id}/rotate`, { token, body: { overlapSeconds } });

describe("rotating", () => {
  test("leaves the old key good for the overlap, and one that is older ends", async () => {
    const { body: made } = await make({ scopes: ["agents:read"] });
    const { status, body: first } = await rotate(made.id, 3_600);
    expect([status, first.id, first.scopes]).toEqual([200, made.id, made.scopes]);
    expect(Date.parse(first.previousKeyExpiresAt ?? "")).toBeGreaterThan(Date.now());
    expect([await works(made.key), await works(first.key)]).toEqual([200, 200]);
    const { body: second } = await rotate(made.id, 3_600);
    expect([await works(made.key), await works(first.key), await works(second.key)]).toEqual([401, 200, 200]);
    const { body: third } = await rotate(made.id, 0);
    expect(third.previousKeyExpiresAt).toBeNull();
    expect([await works(first.key), await works(second.key), await works(third.key)]).toEqual([401, 401, 200]);
    // An overlap that is over, by the database's clock.
    const { body: fourth } = await shifted(-7_200_000, () => rotate(made.id, 3_600));
    expect([await works(third.key), await works(fourth.key)]).toEqual([401, 200]);
    expect((await list()).find(({ id }) => id === made.id)?.previousKeyExpiresAt).toBeNull();
  });

  test("is no way to a key that may do more", async () => {
    const maker = await scopedKey(fixture, "api-keys:write", "agents:read");
    const { body: strong } = await make({ scopes: ["members:write"] });
    expect((await rotate(strong.id, 0, maker)).status).toBe(403);
    expect((await call(fixture, "GET", "/v1/members", { token: strong.key })).status).toBe(403);
    expect((await rotate(strong.id, 8 * 86_400)).status).toBe(400);
  });
});

test("the last use is known to the minute, and written once a minute", async () => {
  const { body } = await make({ scopes: ["agents:read", "api-keys:read"] });
  const used = async () => (await list()).find(({ id }) => id === body.id)?.lastUsedAt ?? null;
  await works(body.key);
  const first = await waitFor(used, { describe: "the first use" });
  expect(Math.abs(Date.parse(first) - Date.now())).toBeLessThan(60_000);
  await Promise.all(Array.from({ length: 5 }, () => works(body.key)));
  // A later use of the same minute, from this process and from one that has not noted any.
  await fixture.services.db.pool.query("select note_api_key_use(array[$1::uuid])", [body.id.slice(4)]);
  expect(await used()).toBe(first);
  await inOwnersName("update api_keys set last_used_at = now() - interval '2 minutes'");
  await shifted(61_000, async () => {
    await works(body.key);
    await waitFor(async () => (await used()) !== null && Date.parse((await used()) ?? "") > Date.now() - 60_000, {
      describe: "the later use",
    });
  });
});

/** A statement in the demo tenant's name. */
async function inOwnersName(text: string): Promise<{ rows: Record<string, string>[] }> {
  const client = await fixture.services.db.pool.connect();
  try {
    await client.query("begin");
    await client.query("select set_config('app.tenant_id', $1, true)", [fixture.demo.tenantId.slice(7)]);
    const { rows } = await client.query<Record<string, string>>(text);
    await client.query("commit");
    return { rows };
  } finally {
    client.release();
  }
}
