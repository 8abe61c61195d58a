import { afterEach, beforeEach, expect, it } from "vitest";
import { startToolServer, type LedgerEntry, type ToolServer } from "./tool-server.ts";
import { waitFor } from "./wait-for.ts";

let server: ToolServer;

beforeEach(async () => {
  server = await startToolServer();
});
afterEach(() => server.stop());

function call(method: string, path: string, key?: string, signal?: AbortSignal): Promise<Response> {
  return fetch(server.url + path, {
    method,
    headers: { "content-type": "application/json", ...(key ? { "idempotency-key": key } : {}) },
    ...(method === "GET" ? {} : { body: JSON.stringify({ sku: "a" }) }),
    ...(signal ? { signal } : {}),
  });
}

it("applies an idempotent call once per key and replays its answer", async () => {
  const first = await (await call("PUT", "/reservations/1", "k1")).json();
  const second = await call("PUT", "/reservations/1", "k1");
  expect(second.headers.get("idempotency-replayed")).toBe("true");
  expect(await second.json()).toEqual(first);
  await call("PUT", "/reservations/1", "k2");
  expect(server.effectsOf("k1")).toBe(1);
  expect(server.effectsOf("k2")).toBe(1);
  expect(server.ledger.map((entry) => entry.outcome)).toEqual(["applied", "replayed", "applied"]);
});

it("applies a write on every call, whatever its key", async () => {
  await call("POST", "/orders", "k1");
  await call("POST", "/orders", "k1");
  expect(server.effectsOf("k1")).toBe(2);
  expect(server.ledger[0]).toMatchObject({ effect: "write", path: "/orders", key: "k1", body: { sku: "a" } });
});

it("answers reads and shows its ledger to other processes", async () => {
  expect(await (await call("GET", "/stock?sku=a")).json()).toMatchObject({ ok: true, path: "/stock?sku=a" });
  const ledger = (await (await fetch(`${server.url}/ledger`)).json()) as LedgerEntry[];
  expect(ledger).toHaveLength(1);
  expect(ledger[0]).toMatchObject({ effect: "read", outcome: "applied" });
});

it("fails before or after the effect, and the ledger tells which", async () => {
  server.enqueueFaults(
    { kind: "error", when: "before" },
    { kind: "error", when: "after", status: 502 },
    { kind: "cut", when: "after" },
    null,
  );
  expect((await call("POST", "/orders", "k")).status).toBe(500);
  expect((await call("POST", "/orders", "k")).status).toBe(502);
  await expect(call("POST", "/orders", "k")).rejects.toThrow("fetch failed");
  expect((await call("POST", "/orders", "k")).status).toBe(200);
  expect(server.ledger.map((entry) => entry.outcome)).toEqual(["none", "applied", "applied", "applied"]);
});

it("saves the answer of an idempotent call whose answer was lost", async () => {
  server.enqueueFaults({ kind: "cut", when: "after" });
  await expect(call("PUT", "/reservations/1", "k")).rejects.toThrow("fetch failed");
  expect((await call("PUT", "/reservations/1", "k")).status).toBe(200);
  expect(server.effectsOf("k")).toBe(1);
});

it("hangs until the caller gives up", async () => {
  const abort = new AbortController();
  server.enqueueFaults({ kind: "hang", when: "after" });
  const hung = call("POST", "/orders", "k", abort.signal);
  await waitFor(() => server.effectsOf("k") === 1, { describe: "the effect" });
  abort.abort();
  await expect(hung).rejects.toThrow();
});

it("stands before a gate until it is opened", async () => {
  const gate = Promise.withResolvers<void>();
  server.enqueueFaults({ kind: "gate", opened: gate.promise });
  const called = call("POST", "/orders", "gated");
  await waitFor(() => server.ledger.some(({ key }) => key === "gated"), { describe: "the call" });
  expect(server.effectsOf("gated")).toBe(0);
  gate.resolve();
  expect((await called).status).toBe(200);
  expect(server.effectsOf("gated")).toBe(1);
});

it("limits rates, is slow, and answers with rubbish", async () => {
  await fetch(`${server.url}/faults`, {
    method: "POST",
    body: JSON.stringify([
      { kind: "rateLimited", retryAfterSeconds: 2 },
      { kind: "slow", delayMs: 20 },
      { kind: "garbage" },
    ]),
  });
  const limited = await call("GET", "/stock");
  expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "2"]);
  const startedMs = performance.now();
  expect((await call("GET", "/stock")).status).toBe(200);
  expect(performance.now() - startedMs).toBeGreaterThan(18);
  await expect((await call("GET", "/stock")).json()).rejects.toThrow();
});
