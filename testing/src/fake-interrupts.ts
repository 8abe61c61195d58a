/** What the engine in memory knows of runs that wait: who is asked what, what was decided, and what pages offer. */
import type { ConversationEvent, Interrupt } from "@agent-engine/protocol/events.ts";
import { custom } from "@agent-engine/protocol/events.ts";

export interface FakeDecision {
  decision: string;
  payload: unknown;
  by: string;
}

interface WaitingRun {
  conversationId: string;
  open: Map<string, { interrupt: Interrupt; settle(decision: FakeDecision): void }>;
}

export interface OfferedTools {
  conversationId: string;
  tools: { name: string; description: string; parameters: object; resultSchema?: object }[];
}

/** A link to the page on which an account is connected. */
interface FakeLink {
  runId: string;
  interruptId: string;
}

export interface FakeInterrupts {
  /** Ends the run's stretch with questions, and goes on when all of them are decided, in their order. */
  ask(runId: string, conversationId: string, interrupts: readonly Interrupt[]): Promise<FakeDecision[]>;
  /** False when it was decided before, or never asked. */
  decide(runId: string, interruptId: string, decision: FakeDecision): boolean;
  openOf(runId: string): Interrupt[];
  /** The run was cancelled: nothing is to be decided any more, and whoever waits for it waits for ever. */
  drop(runId: string): void;
  link(runId: string, interruptId: string): string | null;
  /** Follows a link to its end, as its visitor or another device does; false when there is no such link. */
  connect(linkId: string): boolean;
  /** By page. */
  offered: Map<string, OfferedTools>;
  /** Tools that are left out of what pages offer, by name, and why. */
  refused: Map<string, string>;
}

export function createFakeInterrupts(
  append: (conversationId: string, runId: string, ...events: ConversationEvent[]) => void,
  newId: (prefix: string) => string,
): FakeInterrupts {
  const runs = new Map<string, WaitingRun>();
  const links = new Map<string, FakeLink>();

  function decide(runId: string, interruptId: string, decision: FakeDecision): boolean {
    const run = runs.get(runId);
    const asked = run?.open.get(interruptId);
    if (!run || !asked) return false;
    run.open.delete(interruptId);
    const value = { interruptId, decision: decision.decision, by: decision.by };
    append(run.conversationId, runId, custom("run.resumed", value));
    asked.settle(decision);
    return true;
  }

  return {
    async ask(runId, conversationId, interrupts) {
      const run: WaitingRun = { conversationId, open: new Map() };
      runs.set(runId, run);
      const decisions = interrupts.map(
        (interrupt) =>
          new Promise<FakeDecision>((settle) => {
            run.open.set(interrupt.id, { interrupt, settle });
          }),
      );
      const outcome = { type: "interrupt" as const, interrupts: [...interrupts] };
      append(conversationId, runId, { type: "RUN_FINISHED", threadId: conversationId, runId, outcome });
      const decided = await Promise.all(decisions);
      append(conversationId, runId, { type: "RUN_STARTED", threadId: conversationId, runId });
      return decided;
    },
    decide,
    openOf: (runId) => [...(runs.get(runId)?.open.values() ?? [])].map(({ interrupt }) => interrupt),
    drop: (runId) => void runs.delete(runId),
    link(runId, interruptId) {
      if (!runs.get(runId)?.open.has(interruptId)) return null;
      const id = newId("link");
      links.set(id, { runId, interruptId });
      return id;
    },
    connect(linkId) {
      const link = links.get(linkId);
      return link
        ? decide(link.runId, link.interruptId, { decision: "connected", payload: null, by: "visitor" })
        : false;
    },
    offered: new Map(),
    refused: new Map(),
  };
}
