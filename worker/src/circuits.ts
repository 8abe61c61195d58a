/**
 * The circuits of this worker: one for each tenant and model provider or tool host, so that one tenant's trouble is
 * nobody else's. They live in memory, in this process alone: each worker finds out for itself, and tells what it found.
 */
import { CircuitState, ConsecutiveBreaker, DelegateBackoff, circuitBreaker, handleWhenResult } from "cockatiel";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { OpenCircuit } from "@agent-engine/core/toolkits/failure.ts";
import type { Attempted, Circuit, Guarded } from "./engine/circuit.ts";

/** What a circuit is about. */
export interface CircuitName {
  tenantId: TenantId;
  of: "model" | "tool";
  /** The model provider or the toolkit. */
  provider: string;
  host: string;
}

/** A circuit that is not all well: those with neither failures nor calls under way are not even kept. */
export interface CircuitHealth extends CircuitName {
  state: "closed" | "open" | "half_open";
  /** In a row. */
  failures: number;
  /** Calls that were not made since it opened. */
  refused: number;
  last: OpenCircuit["last"] | null;
  /** ISO 8601 UTC; null while it is closed. */
  since: string | null;
  retryAt: string | null;
}

export interface Circuits {
  circuitOf(name: CircuitName): Circuit;
  /** For metrics and staff. */
  snapshot(): CircuitHealth[];
}

export interface CircuitLimits {
  /** Failures in a row after which it opens. */
  failures: number;
  /** How long it stays open the first time; each failed probe doubles it. */
  openMs: number;
  maxOpenMs: number;
  /** Circuits that are remembered; the ones used longest ago are forgotten. */
  max: number;
}

/** More failures than one run makes: what opens a circuit was seen by more than one. */
export const defaultCircuitLimits: CircuitLimits = { failures: 5, openMs: 10_000, maxOpenMs: 120_000, max: 1_000 };

/** Keeps an attempt that says nothing from being counted. */
class Uncounted extends Error {}

interface Entry {
  name: CircuitName;
  breaker: ConsecutiveBreaker;
  policy: ReturnType<typeof openPolicy>;
  underWay: number;
  refused: number;
  openForMs: number;
  openedAt: number | null;
  /** When it opened first, failed probes since notwithstanding. */
  since: number | null;
  last: OpenCircuit["last"] | null;
}

type Outcome = { health: "healthy" | "failed" };

function openPolicy(breaker: ConsecutiveBreaker, openMs: (opened: number) => number) {
  return circuitBreaker(
    handleWhenResult((outcome) => (outcome as Outcome).health === "failed"),
    { breaker, halfOpenAfter: new DelegateBackoff(({ attempt }) => openMs(attempt)) },
  );
}

/** `onChange` hears of each that opens, is tried in vain, or closes; it must not throw. */
export function createCircuits(
  limits: CircuitLimits = defaultCircuitLimits,
  onChange: (circuit: CircuitHealth) => void = () => {},
): Circuits {
  const entries = new Map<string, Entry>();

  function entryOf(key: string, name: CircuitName): Entry {
    const known = entries.get(key);
    if (known) {
      entries.delete(key);
      entries.set(key, known);
      return known;
    }
    const breaker = new ConsecutiveBreaker(limits.failures);
    const entry: Entry = {
      name,
      breaker,
      policy: openPolicy(breaker, (opened) => {
        entry.openForMs = Math.min(limits.maxOpenMs, limits.openMs * 2 ** (opened - 1));
        return entry.openForMs;
      }),
      underWay: 0,
      refused: 0,
      openForMs: 0,
      openedAt: null,
      since: null,
      last: null,
    };
    entry.policy.onBreak(() => {
      entry.openedAt = Date.now();
      entry.since ??= entry.openedAt;
    });
    entry.policy.onReset(() => {
      Object.assign(entry, { openedAt: null, since: null, refused: 0, last: null });
    });
    entries.set(key, entry);
    forgetOldest();
    return entry;
  }

  function forgetOldest(): void {
    for (const [key, entry] of entries) {
      if (entries.size <= limits.max) return;
      if (entry.underWay > 0) continue;
      entries.delete(key);
      if (entry.openedAt !== null) onChange({ ...healthOf(entry), state: "closed", since: null, retryAt: null });
    }
  }

  async function guard<End>(
    key: string,
    name: CircuitName,
    attempt: () => Promise<Attempted<End>>,
  ): Promise<Guarded<End>> {
    const entry = entryOf(key, name);
    const { policy } = entry;
    const isClosed = policy.state === CircuitState.Closed;
    // Nobody waits for a probe under way: it may take as long as a model's whole answer.
    const mayProbe = policy.state === CircuitState.Open && Date.now() >= retryAtOf(entry);
    if (!isClosed && !mayProbe) {
      entry.refused++;
      return { kind: "open", circuit: reportOf(entry) };
    }
    let made: Attempted<End> | null = null;
    let thrown: { error: unknown } | null = null;
    const { openedAt } = entry;
    entry.underWay++;
    try {
      await policy.execute(async (): Promise<Outcome> => {
        made = await attempt().catch((error: unknown) => {
          thrown = { error };
          return null;
        });
        const health = made?.health ?? "unclear";
        if (health === "failed" && made?.failure) {
          const { code, detail, requestId } = made.failure;
          entry.last = { code, detail, requestId, at: new Date().toISOString() };
        }
        if (health !== "unclear") return { health };
        // A probe that was broken off has shown nothing: the circuit stays open for another while.
        if (mayProbe) return { health: "failed" };
        throw new Uncounted();
      });
    } catch (error) {
      if (!(error instanceof Uncounted)) throw error;
    } finally {
      entry.underWay--;
      const isWell = policy.state === CircuitState.Closed && entry.breaker.state === 0;
      if (isWell && entry.underWay === 0 && entries.get(key) === entry) entries.delete(key);
      if (entry.openedAt !== openedAt) onChange(healthOf(entry));
    }
    const failed = thrown as { error: unknown } | null;
    if (failed) throw failed.error;
    return { kind: "made", end: (made as unknown as Attempted<End>).end };
  }

  return {
    circuitOf(name) {
      const key = JSON.stringify([name.tenantId, name.of, name.provider, name.host]);
      return { guard: (attempt) => guard(key, name, attempt) };
    },
    snapshot: () => [...entries.values()].map(healthOf),
  };
}

function retryAtOf({ openedAt, openForMs }: Entry): number {
  return (openedAt ?? 0) + openForMs;
}

const iso = (ms: number) => new Date(ms).toISOString();

function reportOf(entry: Entry): OpenCircuit {
  const { breaker, last } = entry;
  const since = iso(entry.since ?? 0);
  return {
    since,
    // While a probe is under way its result may come at any moment.
    retryAt: iso(Math.max(Date.now(), retryAtOf(entry))),
    failures: breaker.state,
    last: last ?? { code: "unknown", detail: "", requestId: null, at: since },
  };
}

function healthOf(entry: Entry): CircuitHealth {
  const { name, policy, breaker, refused, last, since } = entry;
  const isClosed = policy.state === CircuitState.Closed;
  return {
    ...name,
    state: isClosed ? "closed" : policy.state === CircuitState.HalfOpen ? "half_open" : "open",
    failures: breaker.state,
    refused,
    last,
    since: since === null ? null : iso(since),
    retryAt: isClosed ? null : iso(retryAtOf(entry)),
  };
}
