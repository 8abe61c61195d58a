import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { addWorker, ask, openSpine, openTenant, startConversation, type Spine } from "@agent-engine/testing/spine.ts";
import { uuidOf } from "../ids.ts";
import { pickRuns } from "./pick-runs.ts";

const TENANTS = 4;
const RUNS = 9;

let spine: Spine;
let worker: string;
/** Runs of each tenant; they came in turns, so the tenants' ids lie between each other. */
const runs: string[][] = Array.from({ length: TENANTS }, () => []);

beforeAll(async () => {
  spine = await openSpine();
  const tenants = await Promise.all(runs.map(() => openTenant(spine)));
  for (let i = 0; i < RUNS; i++) {
    for (const [index, tenant] of tenants.entries()) {
      runs[index]?.push((await ask(tenant.ctx, await startConversation(tenant))).run.id);
    }
  }
  worker = await addWorker(spine);
});
afterAll(() => spine.close());

type Part = "running" | "rung" | "waits" | "ended";

/** What each run of each tenant is doing. */
const situation = fc.array(
  fc.array(fc.constantFrom<Part>("running", "rung", "waits", "waits", "waits", "ended"), {
    minLength: RUNS,
    maxLength: RUNS,
  }),
  { minLength: TENANTS, maxLength: TENANTS },
);

async function arrange(parts: readonly (readonly Part[])[]): Promise<void> {
  const all = runs.flatMap((ofTenant, index) =>
    ofTenant.map((runId, i) => ({ runId, part: parts[index]?.[i] ?? "ended" })),
  );
  const values = [all.map(({ runId }) => uuidOf(runId)), all.map(({ part }) => part)];
  await spine.owner.query(
    `update runs r set status = case p.part when 'running' then 'running' when 'ended' then 'completed' else 'queued' end
     from unnest($1::uuid[], $2::text[]) as p (run_id, part) where r.id = p.run_id`,
    values,
  );
  await spine.owner.query(
    `update jobs j set state = case p.part when 'rung' then 'dispatched' when 'waits' then 'pending' else 'done' end
     from unnest($1::uuid[], $2::text[]) as p (run_id, part) where j.run_id = p.run_id`,
    values,
  );
}

/** The fair order, one by one: next is the tenant with the fewest under way and taken, then the oldest run. */
function expectedOrder(parts: readonly (readonly Part[])[]): string[] {
  const lines = runs.map((ofTenant, index) => ofTenant.filter((_run, i) => parts[index]?.[i] === "waits").toSorted());
  const taken = parts.map((ofTenant) => ofTenant.filter((part) => part === "running" || part === "rung").length);
  const order: string[] = [];
  for (;;) {
    const [next] = lines
      .flatMap((line, index) => (line[0] === undefined ? [] : [{ index, runId: line[0], taken: taken[index] ?? 0 }]))
      .toSorted((a, b) => a.taken - b.taken || (a.runId < b.runId ? -1 : 1));
    if (!next) return order;
    order.push(next.runId);
    lines[next.index]?.shift();
    taken[next.index] = next.taken + 1;
  }
}

async function pickAll(portions: readonly number[]): Promise<string[]> {
  const picked: string[] = [];
  for (let i = 0; ; i++) {
    const places = portions[i % portions.length] ?? 1;
    const doorbells = await pickRuns(spine.services, { workerUuid: worker, queueClass: "priority", places });
    if (doorbells.length === 0) return picked;
    picked.push(...doorbells.map(({ runId }) => runId));
  }
}

test("whatever is under way, runs are taken in the fair order, in portions of any size, and told their places in it", async () => {
  await fc.assert(
    fc.asyncProperty(
      situation,
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 }),
      async (parts, portions) => {
        await arrange(parts);
        const order = expectedOrder(parts);
        const { rows } = await spine.owner.query<{ place: string; run_id: string }>(
          "select place, run_id from fair_order('priority', null, null) order by place",
        );
        expect(rows.map(({ place, run_id }) => [Number(place), run_id.replaceAll("-", "")])).toEqual(
          order.map((runId, index) => [index + 1, uuidOf(runId)]),
        );
        expect(await pickAll(portions)).toEqual(order);
      },
    ),
    { numRuns: 60 },
  );
});

test("whoever has nothing under way waits for one run of each other tenant at most, however many those have waiting", async () => {
  await fc.assert(
    fc.asyncProperty(situation, fc.integer({ min: 1, max: 12 }), async ([mine = [], ...others], portion) => {
      const parts = [mine.map((part, i) => (i === RUNS - 1 ? "waits" : part === "ended" ? part : "ended")), ...others];
      await arrange(parts);
      const picked = await pickAll([portion]);
      const before = picked.slice(0, picked.indexOf(runs[0]?.[RUNS - 1] ?? ""));
      for (const ofTenant of runs.slice(1)) {
        expect(before.filter((runId) => ofTenant.includes(runId)).length).toBeLessThanOrEqual(1);
      }
    }),
    { numRuns: 40 },
  );
});
