import { createHash } from "node:crypto";
import type { AuditEntry, AuditVerdict } from "@agent-engine/protocol/audit-log.ts";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { inTenant, transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { audit, type AuditChange } from "./audit.ts";
import { canonicalJson } from "./canonical-json.ts";
import { entryHash } from "./entry.ts";
import { exportAuditLog, listAuditLog } from "./list-audit-log.ts";
import { verifyAuditLog, type KnownEntry } from "./verify-audit-log.ts";

let spine: Spine;
let tenant: TestTenant;
let other: TestTenant;
/** Entries that making a tenant leaves; those of a test follow. */
let base: number;

beforeAll(async () => {
  spine = await openSpine();
  other = await openTenant(spine);
});
afterAll(() => spine.close());

beforeEach(async () => {
  tenant = await openTenant(spine);
  base = (await verifyAuditLog(tenant.ctx)).entries;
});

const change = (n: number, more: Partial<AuditChange> = {}): AuditChange => ({
  action: "agent.updated",
  target: { kind: "agent", id: `agent_${String(n).padStart(32, "0")}` },
  before: { name: "Old", kept: 1 },
  after: { name: `New ${n}`, kept: 1 },
  ...more,
});

const write = (entry: AuditChange, of: TestTenant = tenant) =>
  transact({ ...of.ctx, ip: "192.0.2.7" }, (tx) => audit({ ...of.ctx, ip: "192.0.2.7" }, tx, entry));

async function fill(entries: number): Promise<void> {
  for (let n = 1; n <= entries; n++) await write(change(n));
}

/** As the owner, to whom nothing is forbidden. */
const tamper = (sql: string, seq: number) =>
  spine.owner.query(sql, [uuidOf(tenant.id), base + seq].slice(0, /\$2/.test(sql) ? 2 : 1));

describe("an entry", () => {
  test("says who did what to what, when, from where and in which request, and only what differs", async () => {
    await write(change(1));
    const [entry] = (await listAuditLog(tenant.ctx, { limit: 1, cursor: null }, {})).items;
    expect(entry).toMatchObject({
      seq: base + 1,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      actor: { kind: "secret_key", id: (tenant.ctx.actor as { apiKeyId: string }).apiKeyId },
      action: "agent.updated",
      target: { kind: "agent", id: change(1).target.id },
      before: { name: "Old" },
      after: { name: "New 1" },
      correlationId: "test",
      ip: "192.0.2.7",
    });
  });

  test("is not there when its change is not, and nothing is missing after that", async () => {
    await expect(
      transact(tenant.ctx, async (tx) => {
        await audit(tenant.ctx, tx, change(1));
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    await write(change(2));
    expect(await verifyAuditLog(tenant.ctx)).toMatchObject({ valid: true, entries: base + 1 });
  });

  test("holds no secret, whatever it is given, and names long values by their hash", async () => {
    const secret = "canary-5f2d90c1";
    await write(
      change(1, {
        before: { apiKey: secret, nested: [{ "Set-Cookie": secret, password: null }], kept: true },
        after: { apiKey: `${secret}2`, nested: [{ Authorization: secret }], text: "x".repeat(20_000), kept: true },
      }),
    );
    const [entry] = (await listAuditLog(tenant.ctx, { limit: 1, cursor: null }, {})).items;
    expect(JSON.stringify(entry)).not.toContain(secret);
    expect(entry).toMatchObject({
      before: { apiKey: "[redacted]", nested: [{ "Set-Cookie": "[redacted]", password: null }] },
      after: {
        apiKey: "[redacted]",
        nested: [{ Authorization: "[redacted]" }],
        text: { omitted: "20002 characters", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    });
  });

  test("takes what Postgres would not", async () => {
    await write(change(1, { after: { name: "a\u0000b\ud800c" } }));
    expect(await verifyAuditLog(tenant.ctx)).toMatchObject({ valid: true, entries: base + 1 });
  });
});

describe("the chain", () => {
  test("has no gap and no fork when many write at once", async () => {
    await Promise.all(Array.from({ length: 40 }, (_, n) => write(change(n))));
    expect(await verifyAuditLog(tenant.ctx)).toMatchObject({ valid: true, entries: base + 40, problem: null });
  });

  test("can be checked part by part, each from where the one before ended, and to the same verdict", async () => {
    await fill(7);
    const parts = async (): Promise<AuditVerdict[]> => {
      const verdicts: AuditVerdict[] = [];
      for (let last: AuditVerdict | null = null; last === null || !last.isComplete;) {
        const after: KnownEntry | null = last && { seq: last.entries, hash: last.lastHash };
        last = await verifyAuditLog(tenant.ctx, null, { after, atMost: 3 });
        verdicts.push(last);
        if (verdicts.length > 20) throw new Error("it does not end");
      }
      return verdicts;
    };
    const whole = await verifyAuditLog(tenant.ctx);
    expect(whole).toMatchObject({ valid: true, isComplete: true, entries: base + 7 });
    const fine = await parts();
    expect(fine.map(({ entries }) => entries)).toEqual(
      Array.from({ length: Math.ceil((base + 7) / 3) }, (_, n) => Math.min((n + 1) * 3, base + 7)),
    );
    expect(fine.at(-1)).toEqual(whole);
    await tamper('update audit_log set entry = \'{"action":"x","at":""}\' where tenant_id = $1 and seq = $2', 5);
    expect((await parts()).at(-1)).toMatchObject({ valid: false, problem: { kind: "changed", seq: base + 5 } });
  });

  test("is found out by a part alone: another beginning, a cut off end, a forged entry at its very end", async () => {
    await fill(4);
    const { entries, lastHash } = await verifyAuditLog(tenant.ctx);
    const from = (seq: number, hash: string) => verifyAuditLog(tenant.ctx, null, { after: { seq, hash }, atMost: 10 });
    expect(await from(entries, lastHash)).toMatchObject({ valid: true, isComplete: true, entries });
    const other = "ab".repeat(32);
    expect(await from(entries, other)).toMatchObject({ valid: false, problem: { kind: "rewritten", seq: entries } });
    expect(await from(entries - 2, other)).toMatchObject({ problem: { kind: "unlinked", seq: entries - 1 } });
    expect(await from(entries + 5, other)).toMatchObject({ problem: { kind: "missing", seq: entries + 1 } });
    const { rows } = await spine.owner.query("select hash from audit_log where tenant_id = $1 and seq = $2", [
      uuidOf(tenant.id),
      entries,
    ]);
    const entry = '{"action":"forged","at":""}';
    const forged = entryHash(rows[0].hash, tenant.id, entries + 1, entry);
    await spine.owner.query(
      "insert into audit_log (tenant_id, seq, entry, previous_hash, hash) values ($1, $2, $3, $4, $5)",
      [uuidOf(tenant.id), entries + 1, entry, rows[0].hash, forged],
    );
    for (const atMost of [entries, Infinity]) {
      expect(await verifyAuditLog(tenant.ctx, null, { after: null, atMost })).toMatchObject({
        valid: false,
        problem: { kind: "unexpected", seq: entries + 1 },
      });
    }
  });

  test("can be checked from an export alone, by what the documents say", async () => {
    await fill(5);
    const entries: AuditEntry[] = [];
    for await (const entry of exportAuditLog(tenant.ctx, {})) entries.push(entry);
    expect(entries.map(({ seq }) => seq)).toEqual(Array.from({ length: base + 5 }, (_, n) => n + 1));
    const uuid = uuidOf(tenant.id).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
    let previous = "00".repeat(32);
    for (const { seq, previousHash, hash, ...content } of entries) {
      expect(previousHash).toBe(previous);
      const text = `${uuid}:${seq}:${canonicalJson(content)}`;
      expect(createHash("sha256").update(Buffer.from(previous, "hex")).update(text).digest("hex")).toBe(hash);
      previous = hash;
    }
  });

  test.each([
    [
      "a changed entry",
      `update audit_log set entry = replace(entry::text, 'New 3', 'New 9')::json where tenant_id = $1 and seq = $2`,
      3,
      { seq: 3, kind: "changed" },
    ],
    [
      "a changed hash",
      "update audit_log set hash = sha256(hash) where tenant_id = $1 and seq = $2",
      3,
      { seq: 3, kind: "changed" },
    ],
    [
      "an entry changed along with its hash",
      `update audit_log set entry = replace(entry::text, 'New 3', 'New 9')::json, hash = sha256(previous_hash ||
         convert_to(tenant_id::text || ':' || seq || ':' || replace(entry::text, 'New 3', 'New 9'), 'UTF8'))
       where tenant_id = $1 and seq = $2`,
      3,
      { seq: 4, kind: "unlinked" },
    ],
    [
      "the last entry changed along with its hash",
      `update audit_log set entry = replace(entry::text, 'New 6', 'New 9')::json, hash = sha256(previous_hash ||
         convert_to(tenant_id::text || ':' || seq || ':' || replace(entry::text, 'New 6', 'New 9'), 'UTF8'))
       where tenant_id = $1 and seq = $2`,
      6,
      { seq: 6, kind: "changed" },
    ],
    ["a deleted entry", "delete from audit_log where tenant_id = $1 and seq = $2", 4, { seq: 4, kind: "missing" }],
    [
      "two entries in the other order",
      `update audit_log a set entry = b.entry, previous_hash = b.previous_hash, hash = b.hash from audit_log b
       where a.tenant_id = $1 and b.tenant_id = $1 and a.seq in ($2::bigint, $2::bigint + 1)
         and b.seq = 2 * $2::bigint + 1 - a.seq`,
      2,
      { seq: 2, kind: "unlinked" },
    ],
    ["a chain cut off", "delete from audit_log where tenant_id = $1 and seq > $2", 4, { seq: 5, kind: "missing" }],
    [
      "a chain gone as a whole",
      "delete from audit_log where tenant_id = $1 and $2 > 0",
      1,
      { seq: -1, kind: "missing" },
    ],
    [
      "a forged entry at the end",
      `insert into audit_log (tenant_id, seq, entry, previous_hash, hash)
       select tenant_id, seq + 1, entry, hash, sha256(hash || convert_to(tenant_id::text || ':' || seq + 1 || ':' || entry::text, 'UTF8'))
       from audit_log where tenant_id = $1 and seq = $2`,
      6,
      { seq: 7, kind: "unexpected" },
    ],
    [
      "a head that is gone",
      "delete from audit_heads where tenant_id = $1 and $2 > 0",
      1,
      { seq: -1, kind: "unexpected" },
    ],
  ])("shows %s, and where", async (_what, sql, seq, problem) => {
    await fill(6);
    expect(await verifyAuditLog(tenant.ctx)).toMatchObject({ valid: true });
    await tamper(sql, seq);
    const verdict = await verifyAuditLog(tenant.ctx);
    const at = problem.seq === -1 ? 1 : base + problem.seq;
    expect(verdict).toMatchObject({ valid: false, problem: { kind: problem.kind, seq: at } });
    if (problem.kind !== "unexpected") expect(verdict.entries).toBe(at - 1);
    expect(await verifyAuditLog(other.ctx)).toMatchObject({ valid: true });
  });

  test("shows a chain that was made anew as a whole to whoever knows one entry of the old one", async () => {
    await fill(3);
    const [known] = (await listAuditLog(tenant.ctx, { limit: 1, cursor: null }, {})).items;
    expect(await verifyAuditLog(tenant.ctx, known ?? null)).toMatchObject({ valid: true });
    await spine.owner.query("delete from audit_log where tenant_id = $1", [uuidOf(tenant.id)]);
    await spine.owner.query("delete from audit_heads where tenant_id = $1", [uuidOf(tenant.id)]);
    await fill(base + 2);
    expect(await verifyAuditLog(tenant.ctx)).toMatchObject({ valid: true, entries: base + 2 });
    expect(await verifyAuditLog(tenant.ctx, known ?? null)).toMatchObject({ problem: { kind: "missing" } });
    await fill(1);
    expect(await verifyAuditLog(tenant.ctx, known ?? null)).toMatchObject({
      valid: false,
      problem: { kind: "rewritten", seq: base + 3 },
    });
  });
});

describe("the serving role", () => {
  test("can neither write, change nor delete an entry or a head", async () => {
    await fill(1);
    const client = await spine.services.db.pool.connect();
    try {
      for (const sql of [
        "insert into audit_log (tenant_id, seq, entry, previous_hash, hash) select tenant_id, seq + 1, entry, hash, hash from audit_log",
        "update audit_log set entry = '{}'",
        "update audit_log set seq = seq",
        "delete from audit_log",
        "truncate audit_log",
        "insert into audit_heads select * from audit_heads",
        "update audit_heads set last_seq = 0",
        "delete from audit_heads",
      ]) {
        await client.query(`begin; set local app.tenant_id = '${uuidOf(tenant.id)}'`);
        await expect(client.query(sql), sql).rejects.toMatchObject({ code: "42501" });
        await client.query("rollback");
      }
    } finally {
      client.release();
    }
  });

  test("adds to no chain but that of the session's tenant", async () => {
    const foreign = inTenant(spine.services.db, other.id, (tx) => audit(tenant.ctx, tx, change(1)));
    await expect(foreign).rejects.toThrow("append_audit");
  });

  test("nobody but the owner has a privilege on either table beyond what the function needs", async () => {
    const { rows } = await spine.owner.query(
      `select c.relname as table, r.rolname = s.system as system, p as privilege
       from serving_roles s, pg_roles r, pg_class c,
         unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) p
       where r.rolname in (s.app, s.system) and c.relname in ('audit_log', 'audit_heads')
         and c.relnamespace = 'public'::regnamespace and has_table_privilege(r.oid, c.oid, p)
       order by 1, 3`,
    );
    expect(rows).toEqual([
      { table: "audit_heads", system: true, privilege: "INSERT" },
      { table: "audit_heads", system: true, privilege: "UPDATE" },
      { table: "audit_log", system: true, privilege: "INSERT" },
    ]);
  });
});

describe("the list", () => {
  test("is newest first, by pages, and filtered by actor, action, target and time", async () => {
    await fill(3);
    await write(change(7, { action: "site.tested", before: null }));
    const first = await listAuditLog(tenant.ctx, { limit: 2, cursor: null }, {});
    expect(first.items.map(({ seq }) => seq)).toEqual([base + 4, base + 3]);
    const second = await listAuditLog(tenant.ctx, { limit: 100, cursor: first.nextCursor }, {});
    expect(second.items.map(({ seq }) => seq)).toEqual(Array.from({ length: base + 2 }, (_, n) => base + 2 - n));
    expect(second.nextCursor).toBeNull();

    const seqs = async (filter: Parameters<typeof listAuditLog>[2]) =>
      (await listAuditLog(tenant.ctx, { limit: 100, cursor: null }, filter)).items.map(({ seq }) => seq - base);
    const mine = (tenant.ctx.actor as { apiKeyId: string }).apiKeyId;
    expect(await seqs({ action: "site.tested" })).toEqual([4]);
    expect(await seqs({ target: change(2).target.id })).toEqual([2]);
    expect(await seqs({ actor: mine })).toEqual([4, 3, 2, 1]);
    expect(await seqs({ actor: mine, action: "agent.updated", target: change(3).target.id })).toEqual([3]);
    const [newest] = first.items;
    expect(await seqs({ from: "2999-01-01T00:00:00.000Z" })).toEqual([]);
    expect(await seqs({ actor: mine, to: newest?.at, from: "2020-01-01T00:00:00.000Z" })).not.toContain(4);
  });

  test("shows another tenant nothing", async () => {
    await fill(2);
    const theirs = await listAuditLog(other.ctx, { limit: 100, cursor: null }, { target: change(1).target.id });
    expect(theirs.items).toEqual([]);
  });

  test("refuses a cursor of another list", async () => {
    for (const cursor of ["agent_1", "0", "-1", "1e3", "99999999999999999"]) {
      await expect(listAuditLog(tenant.ctx, { limit: 1, cursor }, {})).rejects.toMatchObject({
        code: "invalid_request",
      });
    }
  });
});
