/** The cards' entry: loaded when a run first waits for something that a visitor sees. */
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

export function openCards({ api, update }: Session): Weave {
  const calls = createInterruptCalls(api);
  const book = createCardBook({
    api,
    calls,
    onChange: () => update(),
    onAsked: ({ title }) => update({ announcement: cardWords.asked(title) }),
  });
  const connecting = createConnecting(calls, book);

  return (items, state) => {
    const last = items.findLast(({ kind }) => kind === "message");
    const cards = book.follow(state, last?.key);
    const woven = [...items];
    for (const card of cards) {
      const { id } = card.interrupt;
      const isBelow = (item: TimelineItem) =>
        item.key === card.below || (item.kind === "card" && item.below === card.below);
      woven.splice(woven.findLastIndex(isBelow) + 1, 0, {
        kind: "card",
        key: id,
        below: card.below,
        isOpen: card.status !== "settled",
        // A new object each time: what it shows is in the card.
        view: <CardView key={id} card={card} book={book} connecting={connecting} />,
      });
    }
    return woven;
  };
}
