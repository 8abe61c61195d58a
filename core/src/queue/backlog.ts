/**
 * A worker's way to those who wait: whenever it has places, it picks the next in the fair order and answers them itself.
 * Nothing waits in the broker, where nobody could be let ahead, and nobody waits for a worker that is full while another
 * one has a place.
 */
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Services } from "../context.ts";
import { isPostgresUnavailable } from "../db/postgres-unavailable.ts";
import { statement } from "../db/statement.ts";
import { pickRuns } from "./pick-runs.ts";
import type { Doorbell } from "./run-queue.ts";

const LOOK_MS = 250;
/** Picked and not yet claimed. */
const AT_ONCE = 64;

export interface BacklogWorker {
  uuid: string;
  /** Places it may take now, class by class in the order in which to ask. */
  turns(): { queueClass: QueueClass; places: number }[];
  /** Returns once the run is started or known not to be startable. */
  answer(queueClass: QueueClass, doorbell: Doorbell): Promise<void>;
  /** It has places and nobody waits for them: what it last told of itself may say otherwise. */
  onIdle?(): void;
}

export interface Backlog {
  /** A place came free: look at once rather than in a moment. */
  look(): void;
  /** A run has ended: where tenants at their caps have others waiting, one of those may go. */
  ended(): void;
  /** Picks nothing more and waits for those being answered. */
  stop(): Promise<void>;
}

const uncap = statement<{ held_back: number }>("uncap_jobs", "select uncap_jobs() as held_back");

export function serveBacklog(services: Pick<Services, "db" | "log">, worker: BacklogWorker): Backlog {
  const answering = new Set<Promise<void>>();
  let timer: NodeJS.Timeout | undefined;
  let current: Promise<void> | null = null;
  let again = false;
  let isStopped = false;
  let areSomeHeldBack = false;

  /** That Postgres is away is said elsewhere, once. */
  function warn(error: unknown, about: object, message: string): void {
    services.log[isPostgresUnavailable(error) ? "debug" : "warn"]({ err: error, ...about }, message);
  }

  async function pickOnce(): Promise<void> {
    const [capped] = await services.db.query(uncap, []);
    areSomeHeldBack = (capped?.held_back ?? 0) > 0;
    const empty = new Set<QueueClass>();
    for (const { queueClass } of worker.turns()) {
      // Asked anew: the turn before took some.
      const places = worker.turns().find((turn) => turn.queueClass === queueClass)?.places ?? 0;
      const wanted = Math.min(places, AT_ONCE - answering.size);
      if (isStopped || wanted <= 0 || empty.has(queueClass)) continue;
      const picked = await pickRuns(services, { workerUuid: worker.uuid, queueClass, places: wanted });
      for (const doorbell of picked) answer(queueClass, doorbell);
      if (picked.length === wanted) again = true;
      else {
        empty.add(queueClass);
        worker.onIdle?.();
      }
    }
  }

  function answer(queueClass: QueueClass, doorbell: Doorbell): void {
    const answered = worker
      .answer(queueClass, doorbell)
      .catch((error: unknown) => warn(error, { ...doorbell }, "a picked run was not taken"))
      .finally(() => {
        answering.delete(answered);
        if (answering.size === AT_ONCE - 1) look();
      });
    answering.add(answered);
  }

  async function turn(): Promise<void> {
    do {
      again = false;
      try {
        await pickOnce();
      } catch (error) {
        warn(error, {}, "those who wait could not be looked at");
        break;
      }
    } while (again && !isStopped);
  }

  function look(): void {
    if (isStopped) return;
    again = true;
    if (current) return;
    clearTimeout(timer);
    current = turn().finally(() => {
      current = null;
      if (!isStopped) timer = setTimeout(look, LOOK_MS);
    });
  }

  look();
  return {
    look,
    ended() {
      if (areSomeHeldBack) look();
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await current;
      await Promise.all(answering);
    },
  };
}
