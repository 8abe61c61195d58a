import { afterAll, beforeAll, expect, test } from "vitest";
import {
  createTestTenant,
  openTestServices,
  type TestServices,
  type TestTenant,
} from "@agent-engine/testing/tenants.ts";
import { startProcess } from "@agent-engine/testing/processes.ts";
import { createProviderKey } from "@agent-engine/core/models/create-provider-key.ts";
import { createProviderKeyReader } from "@agent-engine/core/models/provider-keys.ts";
import { masterKeyIds, shortKeyId } from "@agent-engine/core/secrets/master-keys.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import pg from "pg";

let services: TestServices;
let tenant: TestTenant;
let owner: pg.Client;

beforeAll(async () => {
  services = await openTestServices();
  tenant = await createTestTenant(services);
  await createProviderKey(tenant.ctx, { provider: "openai", apiKey: "vendor-key-of-the-tenant" });
  owner = new pg.Client({ connectionString: services.ownerUrl });
  await owner.connect();
});
afterAll(async () => {
  await owner.end();
  await services.close();
});

const OLD = "a-master-key-for-tests-that-is-long-enough";
const NEW = "the-new-master-key-of-these-tests";
const idOfKey = (master: string) => shortKeyId(masterKeyIds({ keys: [master] })[0] ?? "");

async function run(script: string, secretKey: string, ...args: string[]) {
  const child = startProcess({
    name: script,
    args: [`scripts/${script}.ts`, ...args],
    env: { DATABASE_URL: services.ownerUrl, SECRET_KEY: secretKey },
  });
  const { code } = await child.exited;
  return { code, output: child.logs() };
}

async function apiKeyUnder(master: string): Promise<string | null | undefined> {
  const reader = createProviderKeyReader({ ...services, secrets: { keys: [master] } });
  const [key] = await reader.of(tenant.id);
  reader.close();
  return key?.apiKey;
}

test("rotate-secrets wraps what lies under the old key anew, and says that it can go", async () => {
  const rotated = await run("rotate-secrets", `${NEW},${OLD}`, "--data-keys");
  expect(rotated.output).toContain("1 data keys wrapped under the first master key.");
  expect(rotated.output).toContain("1 secrets of 1 tenants sealed under new data keys.");
  expect(rotated.output).toContain(`1 data keys lie under master key ${idOfKey(NEW)}.`);
  expect(rotated.output).toContain("No secret needs another key than the first.");
  expect(rotated.code).toBe(0);
  expect([await apiKeyUnder(NEW), await apiKeyUnder(OLD)]).toEqual(["vendor-key-of-the-tenant", null]);
});

test("rotate-secrets names a key that is missing, and drops what needs it only when told to", async () => {
  const without = await run("rotate-secrets", OLD);
  expect(without.output).toContain(`master key ${idOfKey(NEW)}, which SECRET_KEY lacks`);
  expect(without.code).toBe(1);
  expect(await apiKeyUnder(NEW)).toBe("vendor-key-of-the-tenant");
  const start = startProcess({
    name: "npm start",
    args: ["scripts/start.ts"],
    env: { DATABASE_URL: services.ownerUrl, SECRET_KEY: OLD, PORT: "0", DEMO_PORT: "0" },
  });
  expect((await start.exited).code).toBe(1);
  expect(start.logs()).toMatch(new RegExp(`SECRET_KEY lacks a master key.*${idOfKey(NEW)}`));
  const dropped = await run("rotate-secrets", OLD, "--drop-unopenable");
  expect(dropped.output).toContain("1 secrets deleted");
  expect(dropped.code).toBe(0);
  expect(await apiKeyUnder(OLD)).toBeUndefined();
});

test("verify-audit prints where each chain ends, and ends with 1 when one is broken", async () => {
  const whole = await run("verify-audit", OLD);
  const [, ended = ""] = new RegExp(`^${tenant.id} whole +(\\d+:[0-9a-f]{64})$`, "m").exec(whole.output) ?? [];
  expect(ended).not.toBe("");
  expect(whole.code).toBe(0);
  expect((await run("verify-audit", OLD, "--tenant", tenant.id, "--known", ended)).code).toBe(0);
  const forged = `${ended.split(":")[0]}:${"0".repeat(64)}`;
  const rewritten = await run("verify-audit", OLD, "--tenant", tenant.id, "--known", forged);
  expect(rewritten.output).toContain("made anew");
  expect(rewritten.code).toBe(1);
  await owner.query("delete from audit_log where tenant_id = $1 and seq = 2", [uuidOf(tenant.id)]);
  const broken = await run("verify-audit", OLD);
  expect(broken.output).toMatch(new RegExp(`^${tenant.id} BROKEN 1:[0-9a-f]{64} Entry 2 is missing\\.$`, "m"));
  expect(broken.code).toBe(1);
});

test.each([
  ["rotate-secrets", ["--tenant", "acme"], /--tenant acme is no tenant's id/],
  ["rotate-secrets", ["--all"], /Usage: npm run rotate-secrets/],
  ["verify-audit", ["--known", "1:abc"], /--known must be <seq>:<hash>/],
])("%s says what is wrong with %j", async (script, args, message) => {
  const { code, output } = await run(script, OLD, ...args);
  expect(output).toMatch(message);
  expect(code).toBe(1);
});
