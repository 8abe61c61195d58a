import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Job, JobState } from "@agent-engine/protocol/resources.ts";
import {
  addWorker,
  ask,
  openSpine,
  openTenant,
  startConversation,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { uuidOf } from "../ids.ts";
import { resumeRun } from "../runs/resume-run.ts";
import { listJobs } from "./list-jobs.ts";

let spine: Spine;
let tenant: TestTenant;
/** A run in each state, and one that is handed over for the second time. */
const runs: Record<"done" | "again" | "dead" | "dispatched" | "pending" | "capped" | "blocked", string> = {
  done: "",
  again: "",
  dead: "",
  dispatched: "",
  pending: "",
  capped: "",
  blocked: "",
};

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  const other = await openTenant(spine);
  const queued = async (of = tenant) => (await ask(of.ctx, await startConversation(of))).run.id;
  const set = (runId: string, change: string) =>
    spine.owner.query(`update jobs set ${change} where run_id = $1`, [uuidOf(runId)]);
  const worker = await addWorker(spine);
  runs.done = await queued();
  await work(spine, worker, runs.done);
  runs.again = await queued();
  const { id } = await (await work(spine, worker, runs.again)).wait({ reason: "operator" });
  await resumeRun(tenant.ctx, { runId: runs.again, interruptId: id, decision: "retry" });
  runs.dead = await queued();
  await set(runs.dead, "state = 'dead', reason = 'It died three times.'");
  runs.dispatched = await queued();
  await set(await queued(other), "state = 'dead'");
  await queued(other);
  await spine.owner.query("update workers set active = slots");
  const conversationId = await startConversation(tenant);
  runs.pending = (await ask(tenant.ctx, conversationId)).run.id;
  runs.blocked = (await ask(tenant.ctx, conversationId)).run.id;
  runs.capped = await queued();
  await set(runs.capped, "capped = true");
});
afterAll(() => spine.close());

async function all(state?: JobState, limit = 100): Promise<Job[]> {
  const jobs: Job[] = [];
  for (let cursor: string | null = null; ;) {
    const page: Awaited<ReturnType<typeof listJobs>> = await listJobs(tenant.ctx, {
      limit,
      cursor,
      ...(state ? { state } : {}),
    });
    jobs.push(...page.items);
    cursor = page.nextCursor;
    if (cursor === null) return jobs;
  }
}

describe("a tenant's jobs", () => {
  test("are its own, those of the newest runs first, and the same by pages of any size", async () => {
    const jobs = await all();
    const first = (runId: string) => `${runId}-1`;
    expect(jobs.map(({ id }) => id)).toEqual([
      first(runs.capped),
      first(runs.blocked),
      first(runs.pending),
      first(runs.dispatched),
      first(runs.dead),
      `${runs.again}-2`,
      first(runs.again),
      first(runs.done),
    ]);
    for (const limit of [1, 2, 3]) expect(await all(undefined, limit)).toEqual(jobs);
  });

  test.each<[JobState, (keyof typeof runs)[]]>([
    ["done", ["again", "done"]],
    ["dispatched", ["dispatched", "again"]],
    ["pending", ["capped", "pending"]],
    ["blocked", ["blocked"]],
    ["dead", ["dead"]],
  ])("that are %s", async (state, expected) => {
    const jobs = await all(state);
    expect(jobs.map(({ runId }) => runId)).toEqual(expected.map((name) => runs[name]));
    expect(jobs.every((job) => job.state === state)).toBe(true);
    expect(await all(state, 1)).toEqual(jobs);
  });

  test("say why they wait or will never be answered", async () => {
    const [capped, pending] = await all("pending");
    expect([capped?.reason, pending?.reason]).toEqual(["tenant_at_cap", null]);
    expect(await all("dead")).toEqual([
      {
        id: `${runs.dead}-1`,
        runId: runs.dead,
        handOver: 1,
        queueClass: "priority",
        state: "dead",
        reason: "It died three times.",
        createdAt: expect.stringMatching(/Z$/),
        dispatchedAt: expect.stringMatching(/Z$/),
      },
    ]);
  });

  test.each([
    "",
    "nonsense",
    "run_0",
    "run_".padEnd(36, "0"),
    `${"run_".padEnd(36, "0")}-0`,
    `${"conv_".padEnd(37, "0")}-1`,
  ])("a cursor that is none is refused: %j", async (cursor) => {
    await expect(listJobs(tenant.ctx, { limit: 1, cursor })).rejects.toMatchObject({ code: "invalid_request" });
  });
});
