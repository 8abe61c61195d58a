import type { World, WorldWorker } from "./world.ts";

/** Which of these runs each worker holds now. Workers in the order of their names, so that a seed draws the same. */
export async function holdersOf<One extends { runId: string }>(
  world: World,
  ones: readonly One[],
): Promise<Map<WorldWorker, One[]>> {
  const { rows } = await world.db.query<{ run: string; worker: string }>(
    "select replace(id::text, '-', '') as run, worker_id as worker from runs where id = any ($1::uuid[]) and status = 'running'",
    [ones.map(({ runId }) => runId.slice(4))],
  );
  const workerOf = new Map(rows.map(({ run, worker }) => [`run_${run}`, worker]));
  const held = world.workers
    .toSorted((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))
    .map((worker) => [worker, ones.filter(({ runId }) => workerOf.get(runId) === worker.uuid)] as const);
  return new Map(held.filter(([, own]) => own.length > 0));
}
