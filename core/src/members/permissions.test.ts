import { describe, expect, test } from "vitest";
import type { Actor } from "../context.ts";
import {
  API_KEY_SCOPES,
  covers,
  hasEverything,
  isAllowed,
  PERMISSIONS,
  permissionsOfRole,
  ROLES,
} from "./permissions.ts";

const member = (role: (typeof ROLES)[number]): Actor => ({
  kind: "member",
  memberId: "member_1",
  userId: "user_1",
  role,
});
const key = (...scopes: string[]): Actor => ({ kind: "secret_key", apiKeyId: "key_1", scopes });

describe("roles", () => {
  test("have everything that those below them have", () => {
    for (const [index, role] of ROLES.entries()) {
      const below = ROLES[index + 1];
      if (below) expect(permissionsOfRole(role)).toEqual(expect.arrayContaining(permissionsOfRole(below)));
    }
  });

  test("below admin change neither people nor keys nor configuration", () => {
    for (const permission of [
      "members:write",
      "api-keys:read",
      "api-keys:write",
      "sites:write",
      "agents:write",
    ] as const) {
      expect(PERMISSIONS[permission]).toEqual(["owner", "admin"]);
    }
    expect(permissionsOfRole("viewer").filter((each) => each.endsWith(":write"))).toEqual([]);
  });
});

test("nobody hands out more than they have", () => {
  for (const actor of [...ROLES.map(member), key("api-keys:write", "agents:read"), key("*")]) {
    for (const scope of API_KEY_SCOPES) {
      expect(covers(actor, [scope])).toBe(scope === "*" ? hasEverything(actor) : isAllowed(actor, scope));
    }
  }
  expect(covers(member("admin"), ["agents:write", "*"])).toBe(false);
  expect(covers(member("owner"), ["*"])).toBe(true);
});
