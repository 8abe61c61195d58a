/** The cards' entry: loaded with the first run that asks for something, or did. */
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";
import { createInterruptCalls } from "@agent-engine/sdk/interrupts.ts";
import type { Session } from "../panel/session.ts";
import type { TimelineItem } from "../panel/timeline.ts";
import { cardWords } from "./card-words.ts";
import { createCardBook } from "./card-book.ts";
import { CardView } from "./card-view.tsx";
import { createConnecting } from "./connecting.ts";

/** Answers the timeline with the cards where they belong. */
export type Weave = (items: readonly TimelineItem[], state: ClientState) => readonly TimelineItem[];

export function openCards({ api, asked, update }: Session): Weave {
  const calls = createInterruptCalls(api);
  const book = createCardBook({
    api,
    asked,
    calls,
    onChange: () => update(),
    onAsked: ({ title }) => update({ announcement: cardWords.asked(title) }),
  });
  const connecting = createConnecting(calls, book);

  return (items, state) => {
    const woven = [...items];
    for (const card of book.follow(state)) {
      const { interrupt, seq, status } = card;
      // Below what was said before, and the cards that were asked before it.
      const isAbove = (item: TimelineItem) =>
        (item.kind === "message" && item.message.seq < seq) || (item.kind === "card" && item.seq <= seq);
      woven.splice(woven.findLastIndex(isAbove) + 1, 0, {
        kind: "card",
        key: interrupt.id,
        seq,
        isOpen: status !== "settled",
        // A new object each time: what it shows is in the card.
        view: <CardView key={interrupt.id} card={card} book={book} connecting={connecting} />,
      });
    }
    return woven;
  };
}
