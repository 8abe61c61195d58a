import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createEmptyDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import { startProcess } from "@agent-engine/testing/processes.ts";
import pg from "pg";

let database: TestDatabase;

beforeAll(async () => {
  database = await createEmptyDatabase();
});
afterAll(() => database.drop());

async function run(...args: string[]): Promise<{ code: number | null; output: string }> {
  const child = startProcess({
    name: "create-tenant",
    args: ["scripts/create-tenant.ts", ...args],
    env: { DATABASE_URL: database.ownerUrl },
  });
  const { code } = await child.exited;
  return { code, output: child.logs() };
}

test("makes a tenant that can be used at once, in a database that has nothing yet", async () => {
  const { code, output } = await run(
    "--name",
    "Acme",
    "--origin",
    "https://www.acme.example",
    "--origin",
    "https://*.acme.example",
    "--admin-email",
    "Ada@acme.example",
  );
  expect(output).toMatch(/"secretKey": "sk_/);
  expect(code).toBe(0);
  const owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  const { rows } = await owner.query(
    `select t.name, a.published_version, s.allowed_origins, s.publishable_key
     from tenants t join agents a on a.tenant_id = t.id join sites s on s.agent_id = a.id`,
  );
  const invited = await owner.query("select email, role, invitation_hash from members");
  await owner.end();
  const link = new URL(JSON.parse(output).adminInvitationUrl);
  const token = new URLSearchParams(link.hash.slice(1)).get("token") ?? "";
  expect(invited.rows).toEqual([
    { email: "ada@acme.example", role: "owner", invitation_hash: createHash("sha256").update(token).digest() },
  ]);
  expect(rows).toEqual([
    {
      name: "Acme",
      published_version: 1,
      allowed_origins: ["https://www.acme.example", "https://*.acme.example"],
      publishable_key: JSON.parse(output).publishableKey,
    },
  ]);
});

test.each([
  [["--origin", "https://acme.example"], /--name must be/],
  [["--name", "Acme"], /--origin is missing/],
  [["--name", "Acme", "--origin", "https://acme.example", "--admin-email", "ada"], /ada is no e-mail address/],
  [["--name", "Acme", "--origin", "https://acme.example/shop"], /acme.example\/shop is no origin/],
])("%j is refused with what to do", async (args, message) => {
  const { code, output } = await run(...args);
  expect(code).toBe(1);
  expect(output).toMatch(message);
  expect(output).toMatch(/Usage: npm run create-tenant/);
});
