import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { ProblemError } from "../errors.ts";
import type { Verdict } from "./decisions.ts";

export function hasExpired({ expiresAt }: Interrupt, nowMs: number): boolean {
  return expiresAt !== undefined && Date.parse(expiresAt) <= nowMs;
}

/** The first moment at which one of these expires; null where none does. */
export function firstExpiry(interrupts: readonly Interrupt[]): Date | null {
  const times = interrupts.flatMap(({ expiresAt }) => (expiresAt === undefined ? [] : [Date.parse(expiresAt)]));
  return times.length === 0 ? null : new Date(Math.min(...times));
}

/** What it comes to when nobody decided in time; null for what the team decides, whenever that is. */
export function verdictOfTime({ reason }: Interrupt): Verdict | null {
  const nobody = { by: "expiry", actor: "expiry" } as const;
  switch (reason) {
    case "approval":
      return { ...nobody, decision: "decline", details: {} };
    case "connection":
      return { ...nobody, decision: "decline", details: { of: "connection" } };
    case "client_tool":
      return { ...nobody, decision: "error", details: {} };
    case "operator":
      return null;
  }
}

/** Somebody decides too late, and before the sweep has come by. */
export function expiredProblem({ expiresAt }: Interrupt): ProblemError {
  return new ProblemError(
    "interrupt_resolved",
    `It could be decided until ${expiresAt}. The run goes on without. Read the run to see where it is.`,
    { extra: { by: "expiry", decidedAt: expiresAt } },
  );
}
