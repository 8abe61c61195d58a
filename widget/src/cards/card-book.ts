/**
 * Which cards there are: what the log asked of the visitor, and what it says was decided, so that a card becomes a line in
 * the same place and is one after a reload too. Decides for the visitor; the first decision wins, whoever made it.
 */
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { EventPage } from "@agent-engine/protocol/resources.ts";
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";
import { requestAs, type Credentials, type HttpOptions } from "@agent-engine/sdk/http.ts";
import type { InterruptCalls, VisitorDecision } from "@agent-engine/sdk/interrupts.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import { whyNotSent } from "../panel/words.ts";
import { kindOf, titleOf, type Card } from "./card.ts";

export interface CardBookOptions {
  api: HttpOptions & { credentials: Credentials };
  /** What runs asked and what was decided, of whatever conversation; grows, and may repeat. */
  asked: readonly Envelope[];
  calls: InterruptCalls;
  onChange(): void;
  /** A card is there that was not, and is open. */
  onAsked(card: Card): void;
}

export interface CardBook {
  /** All cards of the conversation, oldest first. */
  follow(state: ClientState): readonly Card[];
  decide(card: Card, decision: VisitorDecision, payload?: unknown): Promise<void>;
  /** Changes what the page knows of a card. */
  patch(card: Card, patch: Partial<Card>): void;
}

export function createCardBook({ api, asked, calls, onChange, onAsked }: CardBookOptions): CardBook {
  let conversationId: string | null = null;
  let cards: Card[] = [];
  /** How much of `asked` is in the cards. */
  let taken = 0;

  function patch(card: Card, changes: Partial<Card>): void {
    Object.assign(card, changes);
    onChange();
  }

  function settle(card: Card, decision: string): void {
    patch(card, { status: "settled", decision, problem: null });
  }

  function take({ event, seq }: Envelope): void {
    if (event.type === "RUN_FINISHED" && event.outcome.type === "interrupt") {
      for (const interrupt of event.outcome.interrupts) ask(event.runId, interrupt, seq);
    }
    if (event.type !== "CUSTOM" || event.name !== "run.resumed") return;
    const { interruptId, decision, by } = event.value;
    const card = cards.find(({ interrupt }) => interrupt.id === interruptId);
    if (card) settle(card, by === "expiry" ? "expired" : decision);
  }

  function ask(runId: string, interrupt: Interrupt, seq: number): void {
    const kind = kindOf(interrupt);
    if (!kind || cards.some((card) => card.interrupt.id === interrupt.id)) return;
    const title = titleOf(interrupt);
    const known = { status: "open", problem: null, decision: null, link: null, isBlocked: false } as const;
    cards.push({ kind, runId, interrupt, title, seq, draft: {}, ...known });
  }

  /** What was decided may not have arrived here yet. */
  async function lookUp({ seq }: Card): Promise<void> {
    const path = `/v1/conversations/${conversationId}/events?after=${seq}&limit=100`;
    const page = await requestAs<EventPage>(api, path).catch(() => null);
    for (const envelope of page?.items ?? []) take(envelope);
  }

  function follow(state: ClientState): readonly Card[] {
    if (state.conversationId !== conversationId) {
      conversationId = state.conversationId;
      cards = [];
      taken = 0;
    }
    // Half a history may ask what its other half has answered.
    if (!state.isLoaded) return cards;
    const before = cards.length;
    for (; taken < asked.length; taken++) {
      const envelope = asked[taken];
      if (envelope?.conversationId === conversationId) take(envelope);
    }
    const { runs } = state.conversation;
    for (const [index, card] of cards.entries()) {
      const run = runs[card.runId];
      const isOpen = run?.status === "waiting" && run.interrupts.some(({ id }) => id === card.interrupt.id);
      if (isOpen && index >= before) onAsked(card);
      if (isOpen || card.status === "settled") continue;
      card.status = "settled";
      if (run?.status === "cancelled" || run?.status === "failed") card.decision ??= "withdrawn";
    }
    return cards;
  }

  return {
    follow,
    patch,
    async decide(card, decision, payload) {
      if (card.status === "sending" || card.status === "settled") return;
      patch(card, { status: "sending", problem: null });
      try {
        await calls.resume(card.runId, card.interrupt.id, decision, payload);
        settle(card, decision);
      } catch (failure) {
        const { code, message } = failure as AgentEngineError;
        // Somebody was faster: the log says who, and what.
        if (code === "interrupt_resolved") await lookUp(card);
        else patch(card, { status: "failed", problem: whyNotSent(code, message) });
      }
    },
  };
}
