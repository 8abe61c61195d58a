/** Who may call what: every route of the OpenAPI document × every role and every scope, over the wire. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Role } from "@agent-engine/protocol/administration.ts";
import type { Problem } from "@agent-engine/protocol/resources.ts";
import { PERMISSIONS, ROLES, type Permission } from "@agent-engine/core/members/permissions.ts";
import { callAs, member, type MemberFixture } from "./people-fixture.ts";
import { call, scopedKey, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

interface Operation {
  name: string;
  method: string;
  url: string;
  permission: Permission | null;
  isForVisitors: boolean;
}

/** Routes that no permission opens: whose credential is a session, or in the body. A new one is a decision. */
const WITHOUT_PERMISSION = [
  "GET /v1/me",
  "POST /v1/invitations/accept",
  "POST /v1/invitations/read",
  "POST /v1/realtime-tokens",
  "POST /v1/tenants",
  "POST /v1/visitor-sessions",
];

let fixture: ServerFixture;
let operations: Operation[];
const members = new Map<Role, MemberFixture>();

beforeAll(async () => {
  fixture = await startServerFixture();
  const { body } = await call<{
    paths: Record<string, Record<string, { "x-permission"?: Permission; security: Record<string, []>[] }>>;
  }>(fixture, "GET", "/openapi.json");
  operations = Object.entries(body.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      // No such thing anywhere: whoever may ask is told that it is missing, or that the request is not valid.
      url: path.replaceAll(/\{\w+\}/g, "x"),
      permission: operation["x-permission"] ?? null,
      isForVisitors: operation.security.some((each) => "visitorToken" in each),
    })),
  );
  for (const role of ROLES) members.set(role, await member(fixture, role));
});
afterAll(() => fixture.stop());

/** Refused for who asks, rather than for what is asked. */
const isRefused = ({ status, body }: { status: number; body: Problem }) => status === 403 && body.code === "forbidden";

test("every route names the permission it needs, or is known to need none", () => {
  const without = operations.filter(({ permission }) => permission === null).map(({ name }) => name);
  expect(without.toSorted()).toEqual(WITHOUT_PERMISSION);
  const named = new Set(operations.flatMap(({ permission }) => permission ?? []));
  for (const permission of named) expect(Object.keys(PERMISSIONS)).toContain(permission);
  expect(operations.length).toBeGreaterThan(35);
});

describe.each(ROLES)("a member who is %s", (role) => {
  test("may call exactly the routes that the table gives them", async () => {
    const somebody = members.get(role);
    if (!somebody) throw new Error("no such member");
    for (const { name, method, url, permission } of operations) {
      if (permission === null) continue;
      const isAllowed = (PERMISSIONS[permission] as readonly Role[]).includes(role);
      const answer = await callAs<Problem>(fixture, somebody, method, url, method === "GET" ? {} : { body: "{" });
      expect([name, isRefused(answer)]).toEqual([name, !isAllowed]);
      expect(answer.status).toBeLessThan(500);
      expect(answer.status).not.toBe(401);
    }
  });
});

test("a secret key with one scope may call exactly the routes that need it", async () => {
  for (const scope of Object.keys(PERMISSIONS) as Permission[]) {
    const token = await scopedKey(fixture, scope);
    for (const { name, method, url, permission } of operations) {
      if (permission === null) continue;
      const answer = await call(fixture, method, url, { token, ...(method === "GET" ? {} : { body: "{" }) });
      expect([scope, name, isRefused(answer)]).toEqual([scope, name, permission !== scope]);
    }
  }
});

test("a visitor may call the routes for visitors and no others", async () => {
  const { visitorToken: token } = await visit(fixture);
  for (const { name, method, url, permission, isForVisitors } of operations) {
    if (permission === null) continue;
    const answer = await call(fixture, method, url, { token, ...(method === "GET" ? {} : { body: "{" }) });
    expect([name, isRefused(answer)]).toEqual([name, !isForVisitors]);
  }
});
