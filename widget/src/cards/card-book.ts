/**
 * Which cards there are: follows the client's state, where an interrupt is while it is open, and remembers it when it is
 * decided, so that the card becomes a line in the same place. Decides for the visitor; the first decision wins, whoever made it.
 */
import type { EventPage } from "@agent-engine/protocol/resources.ts";
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";
import { requestAs, type Credentials, type HttpOptions } from "@agent-engine/sdk/http.ts";
import type { InterruptCalls, VisitorDecision } from "@agent-engine/sdk/interrupts.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import { whyNotSent } from "../panel/words.ts";
import { kindOf, titleOf, type Card } from "./card.ts";

export interface CardBookOptions {
  api: HttpOptions & { credentials: Credentials };
  calls: InterruptCalls;
  onChange(): void;
  /** A card is there that was not. */
  onAsked(card: Card): void;
}

export interface CardBook {
  /** All cards of the conversation, oldest first. `lastKey`: what the timeline ends with now. */
  follow(state: ClientState, lastKey: string | undefined): readonly Card[];
  decide(card: Card, decision: VisitorDecision, payload?: unknown): Promise<void>;
  /** Changes what the page knows of a card. */
  patch(card: Card, patch: Partial<Card>): void;
}

export function createCardBook({ api, calls, onChange, onAsked }: CardBookOptions): CardBook {
  let conversationId: string | null = null;
  let cards: Card[] = [];

  function patch(card: Card, changes: Partial<Card>): void {
    Object.assign(card, changes);
    onChange();
  }

  function settle(card: Card, decision: string): void {
    patch(card, { status: "settled", decision, problem: null });
  }

  /** The state forgets what was decided, the log does not. */
  async function lookUp(card: Card): Promise<void> {
    const path = `/v1/conversations/${conversationId}/events?after=${card.seenAt}&limit=100`;
    const page = await requestAs<EventPage>(api, path).catch(() => null);
    for (const { event } of page?.items ?? []) {
      if (event.type !== "CUSTOM" || event.name !== "run.resumed") continue;
      const { interruptId, decision, by } = event.value;
      if (interruptId === card.interrupt.id) settle(card, by === "expiry" ? "expired" : decision);
    }
  }

  function follow(state: ClientState, lastKey: string | undefined): readonly Card[] {
    if (state.conversationId !== conversationId) {
      conversationId = state.conversationId;
      cards = [];
    }
    // Half a history may ask what its other half has answered.
    if (!state.isLoaded) return cards;
    const { runs, lastSeq } = state.conversation;
    const open = new Set<string>();
    for (const run of Object.values(runs)) {
      for (const interrupt of run.status === "waiting" ? run.interrupts : []) {
        const kind = kindOf(interrupt);
        if (!kind) continue;
        open.add(interrupt.id);
        if (cards.some((card) => card.interrupt.id === interrupt.id)) continue;
        const card: Card = {
          kind,
          runId: run.id,
          interrupt,
          title: titleOf(interrupt),
          below: lastKey,
          seenAt: lastSeq,
          draft: {},
          status: "open",
          problem: null,
          decision: null,
          link: null,
          isBlocked: false,
        };
        cards.push(card);
        onAsked(card);
      }
    }
    for (const card of cards) {
      if (card.status === "settled" || open.has(card.interrupt.id)) continue;
      const status = runs[card.runId]?.status;
      card.status = "settled";
      card.decision ??= status === "cancelled" || status === "failed" ? "withdrawn" : null;
      if (card.decision === null) void lookUp(card);
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
