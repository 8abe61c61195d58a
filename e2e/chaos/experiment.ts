/**
 * The interface of an experiment. To add one: a file in `experiments/` that exports an `Experiment`, and its line in
 * `experiments.ts`. It need not wait for its runs to end, check invariants or catch errors for the verdict's sake:
 * `trial` does.
 *
 *   for each round: open talks (`trial.talk`) → ask → wait until they are where the fault shall hit → do it, prove that
 *   it hit (`trial.fired`) → the operations (`trial.operation`) succeed → `trial.check(talks)`
 *
 * Who is hit, when, and with what is drawn from `trial.random` only. No sleeps but those that the experiment is about
 * (a random moment, an outage's length). In the quick form only correctness is judged, in the full one figures too.
 */
import type { Random } from "./random.ts";
import type { Talk, TalkOptions } from "./talk.ts";
import type { World } from "./world.ts";

/** `quick` is part of `npm test`; `full` has the sizes of the table in docs/chaos.md. */
export type Form = "quick" | "full";

export interface Experiment {
  /** Its number in the table, and a letter where that has several parts. */
  id: string;
  title: string;
  /** What it wants to see, for the table. */
  target: string;
  /** What `rounds` counts is said in docs/chaos.md. */
  rounds: Record<Form, number>;
  /** Each must be proven to have fired at least once a round. */
  faults: readonly string[];
  /** Of these, those that the quick form leaves out. */
  slowFaults?: readonly string[];
  /**
   * Whom its faults hit. Those that disturb `nobody` but themselves run first, in the quick form at the same time; the
   * others alone, in order.
   * An experiment leaves the world as it found it: as many processes, every proxy passing.
   */
  disturbs: "nobody" | "everybody";
  /** It replaces all workers by its own kind, and need not bring the others back: it runs after those that want them. */
  bringsWorkers?: true;
  figures?: readonly Figure[];
  run(world: World, trial: Trial): Promise<void>;
}

export interface Figure {
  name: string;
  unit: "ms" | "%" | "MB" | "";
  /** Judged in the full form: that quantile of the measured values must be at most (or at least) the limit. */
  limit?: { quantile: number; atMost: number } | { quantile: number; atLeast: number };
}

export interface Trial {
  readonly rounds: number;
  readonly form: Form;
  readonly random: Random;
  /** A conversation of its own with a client that follows it; what is asked in it is remembered for I2. */
  talk(options?: TalkOptions): Promise<Talk>;
  /**
   * Something that somebody wanted and that has to succeed in spite of the fault. What it throws is written down, and
   * answers null: under 95 % of successes fail the experiment.
   */
  operation<T>(what: string, work: () => Promise<T>): Promise<T | null>;
  /** The fault took effect, proven. Name it as in `faults`. */
  fired(fault: string, count?: number): void;
  /** What may never happen: one is enough to fail the experiment. */
  must(holds: boolean, otherwise: string): void;
  /** A value of one of `figures`. */
  measure(figure: string, value: number): void;
  /** An operator decided to retry the write with this key, so that I3 allows one more call. */
  operatorRetried(idempotencyKey: string): void;
  /**
   * Waits until every run of these conversations has ended or waits for a person (60 s, I4) and every client has the
   * log's end, checks I1–I6 over them, and closes their clients. What was never checked is checked in the end.
   */
  check(talks: readonly Talk[]): Promise<void>;
  /** A line for whoever watches. */
  say(line: string): void;
}
