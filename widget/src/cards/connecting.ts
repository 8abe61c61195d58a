/**
 * Sends the visitor to where their account is connected. The tab opens empty within the click, as browsers block any that
 * opens later, and is sent on when the link is known. The run goes on by itself when the other side is done, wherever that was.
 */
import type { InterruptCalls } from "@agent-engine/sdk/interrupts.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import { safeLink } from "../panel/safe-link.ts";
import { whyNotSent } from "../panel/words.ts";
import type { Card } from "./card.ts";
import type { CardBook } from "./card-book.ts";

export type Connecting = (card: Card) => Promise<void>;

export function createConnecting(calls: InterruptCalls, book: CardBook): Connecting {
  return async (card) => {
    if (card.status === "sending") return;
    const tab = window.open("about:blank", "_blank");
    try {
      // A link is good once: only one that a browser kept from opening is still there to be followed.
      if (!card.isBlocked || !isFresh(card)) {
        book.patch(card, { status: "sending", problem: null });
        const { url, expiresAt } = await calls.connectionLink(card.runId, card.interrupt.id);
        const href = safeLink(url);
        if (!href) throw new Error(`${url} is no link`);
        book.patch(card, { link: { url: href, expiresAt } });
      }
      if (card.status !== "settled") book.patch(card, { status: "open", isBlocked: !tab });
      if (tab && card.link) {
        // Where it goes is none of ours: it must not reach back.
        tab.opener = null;
        tab.location.replace(card.link.url);
      }
    } catch (failure) {
      tab?.close();
      const { code, message } = failure as AgentEngineError;
      // Decided meanwhile: the log is on its way.
      if (code !== "interrupt_resolved") book.patch(card, { status: "failed", problem: whyNotSent(code, message) });
    }
  };
}

/** Whether its link can still be followed. */
export function isFresh({ link }: Card): boolean {
  return link !== null && (link.expiresAt === null || Date.parse(link.expiresAt) > Date.now());
}
