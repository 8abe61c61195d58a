/** Workers that die in the middle of a run: from one statement on, nothing that they do reaches the database. */
import type pg from "pg";
import { createAgentConfigReader } from "@agent-engine/core/agents/get-agent-config.ts";
import type { Services } from "@agent-engine/core/context.ts";
import type { Database } from "@agent-engine/core/db/database.ts";
import { createAppender } from "@agent-engine/core/events/appender.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { sweepOnce } from "@agent-engine/core/queue/dispatcher.ts";
import { claimRun } from "@agent-engine/core/runs/claim-run.ts";
import { registerWorker } from "@agent-engine/core/workers/worker-registry.ts";
import { RunAbandoned } from "./engine/effects.ts";
import { executeRun } from "./execute-run.ts";
import type { Product } from "./product-fixture.ts";
import { openWorld } from "./world.ts";

export interface Death {
  /** Name of the statement that it dies at; at the first of them by default. */
  at: string;
  /**
   * `before` it is sent; `after` its transaction has committed, with nobody left to hear of it. `fails`: it lives, but
   * loses its connection there once; `fails after`: once the transaction has committed.
   */
  when: "before" | "after" | "fails" | "fails after";
  /** How many such statements it survives. */
  survives?: number;
}

export interface MortalWorker {
  /** Resolves when the run is out of its hands, or when it died. */
  ended: Promise<"ended" | "died">;
  /** Dies now. */
  kill(): void;
}

/**
 * One worker, for one run, from its claim on. Null when the run may not be claimed. Whoever dies has no heartbeat any
 * more, and the run is rung for again, as if the time for it had passed.
 */
export async function startMortalWorker(product: Product, runId: string, death?: Death): Promise<MortalWorker | null> {
  const { services } = product;
  const lease = await registerWorker(services, { slots: 1, active: () => 1 });
  const { rows } = await product.db.query("select hand_over from runs where id = $1", [uuidOf(runId)]);
  const doorbell = { runId, handOver: rows[0].hand_over as number, correlationId: "test" };
  // It has this run alone, as a quarantine process has.
  const claim = await claimRun(services, doorbell, lease.uuid, { isQuarantine: true });
  if (!claim || claim.kind === "suspect") {
    await lease.stop();
    return null;
  }
  const died = Promise.withResolvers<"died">();
  const mortal = mortalDatabase(services.db, () => died.resolve("died"), death);
  const ownServices: Services = { ...services, db: mortal.db };
  const world = openWorld(ownServices, { nodeEnv: "test" }, { stall: product.stall });
  const abort = new AbortController();
  const executing = executeRun(
    {
      services: ownServices,
      appender: createAppender(ownServices),
      lease,
      agentOf: createAgentConfigReader(services),
      ...world,
      retryPolicy: product.retryPolicy,
    },
    claim,
    abort,
  );
  const ended = Promise.race([executing.then(() => "ended" as const), died.promise]).then(async (end) => {
    await lease.stop();
    // Whoever dies leaves a heartbeat that runs out; whoever stops takes it along.
    if (end === "died") await leaveDead(product, lease.uuid);
    // What a dead process holds open is closed for it.
    abort.abort(new RunAbandoned("its worker died"));
    await world.close();
    await sweepOnce(services);
    return end;
  });
  return { ended, kill: mortal.kill };
}

async function leaveDead({ db }: Product, workerUuid: string): Promise<void> {
  await db.query("insert into workers (id, slots, expires_at) values ($1, 1, now() - interval '1 second')", [
    workerUuid,
  ]);
}

/** Queries of a dead process are never answered. */
function mortalDatabase(db: Database, onDeath: () => void, death?: Death): { db: Database; kill(): void } {
  let isDead = false;
  let left = death?.survives ?? 0;
  const silence = () => new Promise<never>(() => {});
  const kill = () => {
    isDead = true;
    onDeath();
  };
  const isFatal = (name: string) => name === death?.at && left-- === 0;

  async function run<T>(name: string, send: () => Promise<T>): Promise<T> {
    if (isDead) return silence();
    const isLast = isFatal(name);
    if (isLast && death?.when === "before") {
      kill();
      return silence();
    }
    const answer = await send();
    if (isLast) kill();
    return isDead ? silence() : answer;
  }

  async function connect(): Promise<pg.PoolClient> {
    if (isDead) return silence();
    const client = await db.connect();
    let isFatalTransaction = false;
    /** The server rolls back what a lost connection had begun. */
    const drop = () => {
      client.release(true);
      return silence();
    };
    const query = async (sent: string | { name: string }) => {
      if (isDead) return drop();
      if (typeof sent === "object" && isFatal(sent.name)) isFatalTransaction = true;
      if (isFatalTransaction && death?.when === "before") {
        kill();
        return drop();
      }
      if (isFatalTransaction && death?.when === "fails") throw new Error("Connection terminated unexpectedly");
      const answer = await client.query(sent as string);
      if (isDead) return drop();
      if (isFatalTransaction && sent === "commit") {
        if (death?.when === "fails after") throw new Error("Connection terminated unexpectedly");
        kill();
        return drop();
      }
      return answer;
    };
    return { query, release: (error?: boolean) => client.release(error) } as unknown as pg.PoolClient;
  }

  return {
    db: {
      ...db,
      connect,
      query: (statement, values) => run(statement.name, () => db.query(statement, values)),
    },
    kill,
  };
}
