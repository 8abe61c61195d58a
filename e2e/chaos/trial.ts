/** Keeps the books of one experiment: operations, faults, figures, violations; and says whether it passed. */
import { isDeepStrictEqual } from "node:util";
import { forAudience } from "@agent-engine/protocol/envelope.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import {
  activeRuns,
  storedEvents,
  violations,
  type InvariantInput,
  type Violation,
} from "@agent-engine/testing/invariants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Experiment, Form, Trial } from "./experiment.ts";
import { quantile } from "./quantile.ts";
import type { Random } from "./random.ts";
import { openTalk, type Talk } from "./talk.ts";
import type { World } from "./world.ts";

export const INVARIANTS = ["I1", "I2", "I3", "I4", "I5", "I6"] as const;
const MIN_SUCCESS = 0.95;
/** I4: within that time every run has ended or waits for a person. */
const SETTLE_MS = 60_000;
/** Complaints kept and shown. */
const KEPT = 10;

export interface Outcome {
  id: string;
  title: string;
  target: string;
  /** Its sizes and whether figures were judged: a number of rounds of one's own is `quick`. */
  form: Form;
  rounds: number;
  seconds: number;
  operations: { all: number; succeeded: number };
  faults: Record<string, number>;
  figures: FigureOutcome[];
  /** Violations of each invariant. */
  invariants: Record<string, number>;
  passed: boolean;
  /** Why it did not pass. */
  complaints: string[];
}

export interface FigureOutcome {
  name: string;
  unit: string;
  n: number;
  p50: number;
  p99: number;
  max: number;
  /** Null where it has no limit or is not judged in this form. */
  isWithinLimit: boolean | null;
}

export interface TrialOptions {
  experiment: Experiment;
  world: World;
  rounds: number;
  form: Form;
  random: Random;
  say: (line: string) => void;
}

export function openTrial(options: TrialOptions): { trial: Trial; finish(): Promise<Outcome> } {
  const { experiment, world, rounds, form, random } = options;
  const startedAt = performance.now();
  const open = new Set<Talk>();
  const operations = { all: 0, succeeded: 0 };
  const faults: Record<string, number> = Object.fromEntries(
    experiment.faults
      .filter((fault) => form === "full" || !experiment.slowFaults?.includes(fault))
      .map((fault) => [fault, 0]),
  );
  const values = new Map<string, number[]>((experiment.figures ?? []).map(({ name }) => [name, []]));
  const operatorRetries: Record<string, number> = {};
  const found: Violation[] = [];
  const complaints: string[] = [];
  const complain = (line: string): void => {
    options.say(`  ✗ ${experiment.id}: ${line}`);
    if (complaints.length < KEPT) complaints.push(line);
  };

  async function check(talks: readonly Talk[]): Promise<void> {
    if (talks.length === 0) return;
    const conversations = talks.map(({ conversationId }) => conversationId);
    try {
      await waitFor(async () => (await activeRuns(world.db, conversations)) === 0, {
        describe: "every run to end or to wait for a person",
        timeoutMs: SETTLE_MS,
        intervalMs: 50,
      });
    } catch {
      // What has not settled is named by I4.
    }
    await Promise.all(talks.map((talk) => catchUp(world, talk)));
    const input: InvariantInput = {
      conversations,
      acknowledged: talks.flatMap(({ acknowledged }) => acknowledged),
      ledger: await ledgerOf(world, conversations),
      operatorRetries,
      clients: talks.map((talk) => ({
        conversationId: talk.conversationId,
        reader: "all" as const,
        state: talk.state(),
      })),
    };
    for (const violation of await violations(world.db, input)) {
      found.push(violation);
      complain(`${violation.invariant}: ${violation.subject}: ${violation.detail}`);
    }
    for (const talk of talks) {
      talk.close();
      open.delete(talk);
    }
  }

  const trial: Trial = {
    rounds,
    form,
    random,
    async talk(talkOptions = {}) {
      const talk = await openTalk(random.pick(world.servers).url, world.keys, talkOptions);
      open.add(talk);
      return talk;
    },
    async operation(what, work) {
      operations.all++;
      try {
        const done = await work();
        operations.succeeded++;
        return done;
      } catch (error) {
        complain(`${what}: ${messageOf(error)}`);
        return null;
      }
    },
    fired(fault, count = 1) {
      if (!(fault in faults)) throw new Error(`experiment ${experiment.id} names no fault "${fault}"`);
      faults[fault] = (faults[fault] ?? 0) + count;
    },
    must(holds, otherwise) {
      if (holds) return;
      hasBroken = true;
      complain(otherwise);
    },
    measure(figure, value) {
      const list = values.get(figure);
      if (!list) throw new Error(`experiment ${experiment.id} names no figure "${figure}"`);
      list.push(value);
    },
    operatorRetried(key) {
      operatorRetries[key] = (operatorRetries[key] ?? 0) + 1;
    },
    check,
    say: (line) => options.say(`  ${experiment.id}: ${line}`),
  };
  let hasBroken = false;

  async function finish(): Promise<Outcome> {
    await check([...open]);
    const figures = (experiment.figures ?? []).map((figure) =>
      figureOutcome(figure, values.get(figure.name) ?? [], form),
    );
    for (const { name, isWithinLimit, p50, p99, max } of figures) {
      if (isWithinLimit === false) complain(`${name}: p50 ${p50}, p99 ${p99}, max ${max} misses its limit`);
    }
    const idle = Object.entries(faults).filter(([, count]) => count < rounds);
    for (const [fault, count] of idle) complain(`"${fault}" fired ${count} times of ${rounds}`);
    const success = operations.all === 0 ? 0 : operations.succeeded / operations.all;
    if (success < MIN_SUCCESS) complain(`${operations.succeeded} of ${operations.all} operations succeeded`);
    return {
      id: experiment.id,
      title: experiment.title,
      target: experiment.target,
      form,
      rounds,
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
      operations,
      faults,
      figures,
      invariants: Object.fromEntries(
        INVARIANTS.map((name) => [name, found.filter(({ invariant }) => invariant === name).length]),
      ),
      passed:
        !hasBroken &&
        found.length === 0 &&
        idle.length === 0 &&
        success >= MIN_SUCCESS &&
        figures.every(({ isWithinLimit }) => isWithinLimit !== false),
      complaints,
    };
  }
  return { trial, finish };
}

export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${messageOf(error.cause)})`;
}

function figureOutcome(
  { name, unit, limit }: NonNullable<Experiment["figures"]>[number],
  measured: readonly number[],
  form: Form,
): FigureOutcome {
  let isWithinLimit: boolean | null = null;
  if (limit && form === "full") {
    const value = quantile(measured, limit.quantile);
    isWithinLimit = "atMost" in limit ? value <= limit.atMost : value >= limit.atLeast;
  }
  const round = (value: number) => Math.round(value * 10) / 10;
  return {
    name,
    unit,
    n: measured.length,
    p50: round(quantile(measured, 0.5)),
    p99: round(quantile(measured, 0.99)),
    max: round(quantile(measured, 1)),
    isWithinLimit,
  };
}

/** Gives the client as long as it needs, within reason, to show the log's end. What it shows then is judged by I5. */
async function catchUp(world: World, talk: Talk): Promise<void> {
  const stored = await storedEvents(world.db, talk.conversationId);
  const expected = reduce(
    initialState,
    stored.map((envelope) => forAudience(envelope, "all")),
  );
  await talk
    .when("the log's end", (state) => state.lastSeq >= expected.lastSeq || isDeepStrictEqual(state, expected), 30_000)
    .catch(() => undefined);
}

async function ledgerOf(
  world: World,
  conversations: readonly string[],
): Promise<NonNullable<InvariantInput["ledger"]>> {
  const { rows } = await world.db.query<{ key: string }>(
    "select idempotency_key as key from tool_invocations where run_id in (select id from runs where conversation_id = any ($1::uuid[]))",
    [conversations.map((id) => id.slice(5))],
  );
  const keys = new Set(rows.map(({ key }) => key));
  return world.tools.ledger.filter(({ key }) => key !== null && keys.has(key));
}
