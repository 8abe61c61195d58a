import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { pino } from "pino";
import { listAuditLog } from "../audit/list-audit-log.ts";
import type { Ctx, Services } from "../context.ts";
import { inTenant, transact } from "../db/transaction.ts";
import { idOf, newId, uuidOf } from "../ids.ts";
import { createProviderKey } from "../models/create-provider-key.ts";
import { createProviderKeyReader } from "../models/provider-keys.ts";
import { checkMasterKeys, masterKeysInUse } from "./check-master-keys.ts";
import { dropUnopenable } from "./drop-unopenable.ts";
import { masterKeyIds } from "./master-keys.ts";
import { rewrapDataKeys } from "./rewrap-data-keys.ts";
import { rotateDataKey } from "./rotate-data-key.ts";
import { forgetSecrets, keepSecret, readSecrets, type SecretId, type SecretPlace } from "./secrets.ts";

let spine: Spine;
let tenant: TestTenant;
let other: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
});
afterAll(() => spine.close());
beforeEach(async () => {
  [tenant, other] = await Promise.all([openTenant(spine), openTenant(spine)]);
});

const place = (more: Partial<SecretPlace> = {}): SecretPlace => ({
  purpose: "test",
  ownerId: "agent_0198c0de00007000800000000000cafe",
  field: "header authorization https://shop.example",
  ...more,
});

/** The same installation with other master keys. */
function withKeys(ctx: Ctx, ...keys: string[]): Ctx {
  return { ...ctx, services: { ...ctx.services, secrets: { keys } } };
}

const CURRENT = "a-master-key-for-tests-that-is-long-enough";

const keep = (ctx: Ctx, value: string, where = place()) => transact(ctx, (tx) => keepSecret(ctx, tx, where, value));

const read = async (ctx: Ctx, id: SecretId, where = place()) =>
  (await transact(ctx, (tx) => readSecrets(ctx, tx, [{ id, ...where }]))).get(id);

async function dataKeys(of: TestTenant = tenant): Promise<{ id: string; retired: boolean; master: string }[]> {
  const { rows } = await spine.owner.query(
    "select id::text, retired_at is not null as retired, master_key_id as master from data_keys where tenant_id = $1 order by id",
    [uuidOf(of.id)],
  );
  return rows;
}

describe("a kept secret", () => {
  test("is read back by its id and place, and is nowhere in the clear", async () => {
    const id = await keep(tenant.ctx, "canary-7f3a öäü 😀");
    expect(await read(tenant.ctx, id)).toBe("canary-7f3a öäü 😀");
    const { rows } = await spine.owner.query<{ row: string }>("select secrets::text as row from secrets");
    expect(rows.map(({ row }) => row).join()).not.toContain("canary");
    expect(rows.map(({ row }) => row).join()).not.toContain(Buffer.from("canary").toString("hex"));
    await transact(tenant.ctx, (tx) => forgetSecrets(tx, [id]));
    expect(await read(tenant.ctx, id)).toBeUndefined();
  });

  test("does not open in another place, nor under another id, nor in another tenant, wherever its bytes are put", async () => {
    const id = await keep(tenant.ctx, "value");
    for (const where of [
      place({ purpose: "another" }),
      place({ ownerId: newId("agent") }),
      place({ field: "header authorization https://evil.example" }),
    ]) {
      await expect(read(tenant.ctx, id, where)).rejects.toMatchObject({ name: "CannotOpen", secretId: id });
    }
    const second = await keep(tenant.ctx, "second");
    await spine.owner.query("update secrets s set sealed = o.sealed from secrets o where s.id = $1 and o.id = $2", [
      uuidOf(second),
      uuidOf(id),
    ]);
    await expect(read(tenant.ctx, second)).rejects.toMatchObject({ name: "CannotOpen" });

    // The whole row, and its data key with it, as whoever writes to the database could move them.
    const moved = newId("secret");
    await keep(other.ctx, "theirs");
    await spine.owner.query(
      `insert into secrets (id, tenant_id, purpose, owner_id, field, data_key_id, sealed)
       select $1, $2, purpose, owner_id, field, data_key_id, sealed from secrets where id = $3`,
      [uuidOf(moved), uuidOf(other.id), uuidOf(id)],
    );
    expect(await read(other.ctx, moved)).toBeUndefined();
    await spine.owner.query(
      "update data_keys d set wrapped = k.wrapped from data_keys k where d.tenant_id = $1 and k.tenant_id = $2",
      [uuidOf(other.id), uuidOf(tenant.id)],
    );
    await spine.owner.query(
      "update secrets set data_key_id = (select id from data_keys where tenant_id = $2) where id = $1",
      [uuidOf(moved), uuidOf(other.id)],
    );
    await expect(read(other.ctx, moved)).rejects.toMatchObject({ name: "CannotOpen" });
    await spine.owner.query("delete from secrets where tenant_id = $1", [uuidOf(other.id)]);
    await spine.owner.query("delete from data_keys where tenant_id = $1", [uuidOf(other.id)]);
  });

  test("of many that are first at once shares one data key", async () => {
    const ids = await Promise.all(Array.from({ length: 10 }, (_, n) => keep(tenant.ctx, `value ${n}`)));
    expect(await dataKeys()).toHaveLength(1);
    for (const [n, id] of ids.entries()) expect(await read(tenant.ctx, id)).toBe(`value ${n}`);
  });

  test("leaves nothing behind when its transaction fails: neither it nor the key it made", async () => {
    const failing = transact(tenant.ctx, async (tx) => {
      await keepSecret(tenant.ctx, tx, place(), "value");
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(await dataKeys()).toEqual([]);
    expect(await read(tenant.ctx, await keep(tenant.ctx, "later"))).toBe("later");
  });

  test("of another tenant is not there", async () => {
    const id = await keep(tenant.ctx, "value");
    expect(await read(other.ctx, id)).toBeUndefined();
    await transact(other.ctx, (tx) => forgetSecrets(tx, [id]));
    expect(await read(tenant.ctx, id)).toBe("value");
  });
});

describe("the master key", () => {
  test("is rotated while everything goes on; then the old one can go", async () => {
    const id = await keep(tenant.ctx, "value");
    const old = withKeys(tenant.ctx, CURRENT);
    const both = withKeys(tenant.ctx, CURRENT, "the-next-master-key-of-the-tests");
    const turned = withKeys(tenant.ctx, "the-next-master-key-of-the-tests", CURRENT);
    const next = withKeys(tenant.ctx, "the-next-master-key-of-the-tests");
    // First every process learns the new key, which none uses yet.
    for (const ctx of [old, both]) expect(await read(ctx, id)).toBe("value");
    // Then it comes first: processes of both kinds serve, and both read what either writes.
    const written = await keep(turned, "written by the new ones");
    expect(await rewrapDataKeys(turned.services)).toMatchObject({ unopenable: 0 });
    for (const ctx of [both, turned]) {
      expect(await read(ctx, id)).toBe("value");
      expect(await read(ctx, written)).toBe("written by the new ones");
    }
    expect(await masterKeysInUse(turned.services)).toEqual([
      { id: masterKeyIds(next.services.secrets)[0], dataKeys: expect.any(Number), isKnown: true },
    ]);
    // Last the old one goes.
    await checkMasterKeys(next.services);
    expect(await read(next, id)).toBe("value");
    await expect(read(old, id)).rejects.toMatchObject({ name: "MasterKeyMissing" });
    await rewrapDataKeys(withKeys(tenant.ctx, CURRENT, "the-next-master-key-of-the-tests").services);
    await checkMasterKeys(old.services);
  });

  test("that is missing stops a start, which says which and what to do", async () => {
    const id = await keep(tenant.ctx, "value");
    const without = withKeys(tenant.ctx, "another-master-key-of-the-tests");
    const [missing = ""] = masterKeyIds(tenant.ctx.services.secrets);
    await expect(checkMasterKeys(without.services)).rejects.toThrow(
      new RegExp(
        `SECRET_KEY lacks.*${missing.slice(0, 12)} \\(\\d+ data keys\\).*SECRET_KEY=new,old.*--drop-unopenable`,
      ),
    );
    await expect(read(without, id)).rejects.toThrow(/SECRET_KEY lacks the master key/);
    await expect(keep(without, "another")).rejects.toThrow(/SECRET_KEY lacks the master key/);
    expect(await read(tenant.ctx, id)).toBe("value");
  });

  test("is rotated under load: not one read or write fails, and nothing is left under the old one", async () => {
    const phases = [
      [CURRENT],
      [CURRENT, "rotated-under-load-master-key"],
      ["rotated-under-load-master-key", CURRENT],
      ["rotated-under-load-master-key"],
    ];
    // Two processes, of which one is always a phase behind, as in a rolling restart.
    const processes: [Ctx, Ctx] = [
      withKeys(tenant.ctx, ...(phases[0] ?? [])),
      withKeys(tenant.ctx, ...(phases[0] ?? [])),
    ];
    const written = new Map<SecretId, string>();
    let operations = 0;
    let isOver = false;
    const load = Promise.all(
      Array.from({ length: 6 }, async (_, client) => {
        for (let n = 0; !isOver; n++) {
          const ctx = processes[n % 2] ?? tenant.ctx;
          const value = `${client}:${n}`;
          written.set(await keep(ctx, value), value);
          const [id, expected] = [...written][(n * 7 + client) % written.size] ?? [];
          if (id) expect(await read(processes[(n + 1) % 2] ?? tenant.ctx, id)).toBe(expected);
          operations += 2;
        }
      }),
    );
    const until = async (more: number) => {
      const target = operations + more;
      while (operations < target) await new Promise((resolve) => setImmediate(resolve));
    };
    await until(40);
    for (const keys of phases.slice(1)) {
      processes[0] = withKeys(tenant.ctx, ...keys);
      await until(30);
      processes[1] = withKeys(tenant.ctx, ...keys);
      await until(30);
      const [first, second] = keys;
      if (first !== CURRENT && second === CURRENT) {
        // The task of both processes, at once.
        await Promise.all(processes.map((ctx) => rewrapDataKeys(ctx.services)));
      }
      // A data key may change at any time too.
      await rotateDataKey(processes[0]);
    }
    isOver = true;
    await load;
    const [last] = masterKeyIds({ keys: phases.at(-1) ?? [] });
    expect(await dataKeys()).toEqual([{ id: expect.any(String), retired: false, master: last }]);
    for (const [id, value] of written) expect(await read(processes[0], id)).toBe(value);
    expect(written.size).toBeGreaterThan(60);
    // The other tests' master key again.
    await rewrapDataKeys(withKeys(tenant.ctx, CURRENT, "rotated-under-load-master-key").services);
  });

  test("that is lost for good costs what it sealed, and nothing else", async () => {
    const lost = withKeys(tenant.ctx, "a-master-key-that-will-be-lost");
    await createProviderKey(lost, { provider: "openai", apiKey: "vendor-key-of-tenant" });
    const gone = await keep(lost, "gone");
    const kept = await keep(other.ctx, "kept");
    await expect(checkMasterKeys(spine.services)).rejects.toThrow("SECRET_KEY lacks");
    expect(await dropUnopenable(spine.services)).toBe(2);
    await checkMasterKeys(spine.services);
    expect(await read(tenant.ctx, gone)).toBeUndefined();
    expect(await read(other.ctx, kept)).toBe("kept");
    expect(await read(tenant.ctx, await keep(tenant.ctx, "anew"))).toBe("anew");
    const { rows } = await spine.owner.query("select 1 from provider_keys where tenant_id = $1", [uuidOf(tenant.id)]);
    expect(rows).toEqual([]);
    const [entry] = (await listAuditLog(tenant.ctx, { limit: 1, cursor: null }, {})).items;
    expect(entry).toMatchObject({ action: "data_key.dropped", actor: { kind: "platform" } });
  });
});

describe("a tenant's data key", () => {
  test("is rotated with all its values, more than a batch of them, and the old one is gone", async () => {
    const values = new Map<SecretId, string>();
    await transact(tenant.ctx, async (tx) => {
      for (let n = 0; n < 230; n++) values.set(await keepSecret(tenant.ctx, tx, place(), `value ${n}`), `value ${n}`);
    });
    const [before] = await dataKeys();
    expect(await rotateDataKey(tenant.ctx)).toBe(230);
    const after = await dataKeys();
    expect(after).toHaveLength(1);
    expect(after[0]?.id).not.toBe(before?.id);
    for (const [id, value] of values) expect(await read(tenant.ctx, id)).toBe(value);
    const [entry] = (await listAuditLog(tenant.ctx, { limit: 1, cursor: null }, {})).items;
    expect(entry).toMatchObject({ action: "data_key.rotated", target: { kind: "tenant", id: tenant.id } });
  });

  test("is not taken from under who is sealing with it: the rotation waits", async () => {
    await keep(tenant.ctx, "before");
    const rotations: Promise<number>[] = [];
    const isBlocked = async () => {
      const { rows } = await spine.owner.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length > 0;
    };
    const id = await transact(tenant.ctx, async (tx) => {
      const kept = await keepSecret(tenant.ctx, tx, place(), "meanwhile");
      let isOver = false;
      rotations.push(rotateDataKey(tenant.ctx).finally(() => (isOver = true)));
      await waitFor(async () => isOver || (await isBlocked()), { describe: "the rotation to wait or end" });
      expect(isOver).toBe(false);
      return kept;
    });
    expect(await Promise.all(rotations)).toEqual([2]);
    expect(await read(tenant.ctx, id)).toBe("meanwhile");
    expect(await dataKeys()).toHaveLength(1);
  });

  test("that is half rotated serves, and the next rotation ends it", async () => {
    const id = await keep(tenant.ctx, "value");
    await spine.owner.query("update data_keys set retired_at = now() where tenant_id = $1", [uuidOf(tenant.id)]);
    expect(await read(tenant.ctx, id)).toBe("value");
    const later = await keep(tenant.ctx, "later");
    expect(await dataKeys()).toHaveLength(2);
    expect(await rotateDataKey(tenant.ctx)).toBe(2);
    expect(await dataKeys()).toHaveLength(1);
    expect([await read(tenant.ctx, id), await read(tenant.ctx, later)]).toEqual(["value", "later"]);
  });

  test("is not made for a tenant that keeps no secret", async () => {
    expect(await rotateDataKey(tenant.ctx)).toBe(0);
    expect(await dataKeys()).toEqual([]);
  });

  test("names the secret that was damaged, and goes no further", async () => {
    const id = await keep(tenant.ctx, "value");
    await spine.owner.query("update secrets set purpose = 'moved' where id = $1", [uuidOf(id)]);
    await expect(rotateDataKey(tenant.ctx)).rejects.toMatchObject({ name: "CannotOpen", secretId: id });
    await spine.owner.query("delete from secrets where id = $1", [uuidOf(id)]);
  });
});

describe("a tenant's keys at vendors, as a worker reads them", () => {
  /** Counts the look-ups. */
  function counted(): { services: Services; lookups: () => number } {
    let lookups = 0;
    const { db } = spine.services;
    const query: Services["db"]["query"] = (statement, values) => {
      if (statement.name === "provider_keys_of") lookups++;
      return db.query(statement, values);
    };
    return { services: { ...spine.services, db: { ...db, query } }, lookups: () => lookups };
  }

  test("are looked up once and kept, also where there are none", async () => {
    const { services, lookups } = counted();
    const reader = createProviderKeyReader(services);
    const answers = await Promise.all(Array.from({ length: 50 }, () => reader.of(tenant.id)));
    for (let n = 0; n < 50; n++) answers.push(await reader.of(tenant.id));
    expect(new Set(answers)).toEqual(new Set([[]]));
    expect(lookups()).toBe(1);
    reader.close();
  });

  test("are another set as soon as one is made or deleted, the newest first", async () => {
    const reader = createProviderKeyReader(spine.services);
    expect(await reader.of(tenant.id)).toEqual([]);
    const ctx: Ctx = { ...tenant.ctx, services: spine.services };
    await createProviderKey(ctx, { provider: "openai", apiKey: "first-key-of-tenant" });
    await createProviderKey(ctx, { provider: "openai", apiKey: "second-key-of-tenant" });
    expect((await reader.of(tenant.id)).map(({ apiKey }) => apiKey)).toEqual([
      "second-key-of-tenant",
      "first-key-of-tenant",
    ]);
    expect(await reader.of(other.id)).toEqual([]);
    reader.close();
  });

  test("are read anew within seconds where nobody told of a change, and beside whoever uses them", async () => {
    let now = 0;
    let isAway = false;
    const { bus, db } = spine.services;
    const deaf: Services = {
      ...spine.services,
      bus: { ...bus, control: { publish: () => {}, subscribe: async () => () => {} } },
      db: { ...db, query: (asked, values) => (isAway ? Promise.reject(new Error("away")) : db.query(asked, values)) },
    };
    const reader = createProviderKeyReader(deaf, () => now);
    expect(await reader.of(tenant.id)).toEqual([]);
    await createProviderKey(tenant.ctx, { provider: "openai", apiKey: "key-of-the-tenant" });
    now += 1_000;
    expect(await reader.of(tenant.id)).toEqual([]);
    now += 1_000;
    expect(await reader.of(tenant.id)).toEqual([]);
    await waitFor(async () => (await reader.of(tenant.id)).length === 1, { describe: "the key to be read beside" });
    await spine.owner.query("delete from provider_keys where tenant_id = $1", [uuidOf(tenant.id)]);
    now += 4_000;
    expect(await reader.of(tenant.id)).toEqual([]);

    // While Postgres is away nobody can change them, and runs go on.
    await createProviderKey(tenant.ctx, { provider: "openai", apiKey: "key-of-the-tenant" });
    now += 4_000;
    expect(await reader.of(tenant.id)).toHaveLength(1);
    isAway = true;
    now += 60_000;
    expect(await reader.of(tenant.id)).toHaveLength(1);
    await expect(reader.of(other.id)).rejects.toThrow("away");
    reader.close();
  });

  test("that cannot be opened are there without a value: nobody else's key takes their place", async () => {
    const lost = withKeys(tenant.ctx, "a-master-key-of-another-process");
    await createProviderKey(lost, { provider: "anthropic", apiKey: "key-of-the-tenant" });
    const reader = createProviderKeyReader({ ...spine.services, log: pino({ level: "silent" }) });
    expect(await reader.of(tenant.id)).toEqual([{ provider: "anthropic", baseUrl: null, apiKey: null }]);
    reader.close();
    await dropUnopenable(spine.services);
  });

  test("moved in the database to another address open nowhere", async () => {
    await createProviderKey(tenant.ctx, {
      provider: "openai-compatible",
      apiKey: "key-of-the-tenant",
      baseUrl: "https://models.example/v1/",
    });
    await spine.owner.query("update provider_keys set base_url = 'https://evil.example/v1' where tenant_id = $1", [
      uuidOf(tenant.id),
    ]);
    const reader = createProviderKeyReader(spine.services);
    expect(await reader.of(tenant.id)).toMatchObject([{ baseUrl: "https://evil.example/v1", apiKey: null }]);
    reader.close();
  });
});

test("no statement of secrets works without the tenant's context", async () => {
  const id = await keep(tenant.ctx, "value");
  const { rows } = await spine.services.db.pool.query("select 1 from secrets where id = $1", [uuidOf(id)]);
  expect(rows).toEqual([]);
  const inOther = await inTenant(spine.services.db, other.id, (tx) =>
    readSecrets(tenant.ctx, tx, [{ id: idOf("secret", uuidOf(id)), ...place() }]),
  );
  expect(inOther.size).toBe(0);
});
