import { expect, test } from "vitest";
import { remember } from "./remembered.ts";

function fixture() {
  let nowMs = 0;
  let count = 0;
  let gate: Promise<unknown> = Promise.resolve();
  let fails = false;
  const failures: unknown[] = [];
  const get = remember({
    load: async () => {
      const value = ++count;
      await gate;
      if (fails) throw new Error(`no ${value}`);
      return value;
    },
    now: () => nowMs,
    freshMs: 10,
    staleMs: 100,
    pauseMs: 5,
    onFailure: (error) => void failures.push(error),
  });
  return {
    get,
    failures,
    count: () => count,
    at: (ms: number) => void (nowMs = ms),
    fail: (does: boolean) => void (fails = does),
    close(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return resolve;
    },
  };
}

test("many who ask at once are one question", async () => {
  const { get, count } = fixture();
  expect(await Promise.all([get(), get(), get()])).toEqual([1, 1, 1]);
  expect(count()).toBe(1);
});

test("what is old is shown at once, and renewed behind it", async () => {
  const { get, at, close, count } = fixture();
  await get();
  at(11);
  const open = close();
  expect(await Promise.all([get(), get()])).toEqual([1, 1]);
  expect(count()).toBe(2);
  open();
  await expect.poll(get).toBe(2);
});

test("what is too old is waited for, and its failure told", async () => {
  const { get, at, fail } = fixture();
  await get();
  at(200);
  fail(true);
  await expect(get()).rejects.toThrow("no 2");
  fail(false);
  expect(await get()).toBe(3);
});

test("a failure behind the scenes is paused after, and nobody waits for it", async () => {
  const { get, at, fail, failures, count } = fixture();
  await get();
  fail(true);
  at(20);
  expect(await get()).toBe(1);
  await expect.poll(() => failures).toHaveLength(1);
  expect(await get()).toBe(1);
  expect(count()).toBe(2);
  fail(false);
  at(30);
  await get();
  await expect.poll(get).toBe(3);
});
