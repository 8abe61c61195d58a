import { Component, createRef } from "preact";
import { adopt } from "../panel/adopt.ts";
import { giveFocusOn } from "../panel/phone.ts";
import { ApprovalCard } from "./approval-card.tsx";
import { outcomeWords } from "./card-words.ts";
import type { Card } from "./card.ts";
import type { CardBook } from "./card-book.ts";
import { ConnectionCard } from "./connection-card.tsx";
import type { Connecting } from "./connecting.ts";
import styles from "./cards.css?inline";
import { FormCard } from "./form-card.tsx";

const sheet = new CSSStyleSheet();
sheet.replaceSync(styles);
const dress = adopt(sheet);

export interface CardProps {
  card: Card;
  book: CardBook;
}

/** A card while it is open; a line where it was when it is decided. */
export class CardView extends Component<CardProps & { connecting: Connecting }> {
  #root = createRef<HTMLDivElement>();

  override componentDidMount(): void {
    const root = this.#root.current;
    dress(root);
    // What is higher than the list is read from its beginning; the list itself goes to its end first.
    requestAnimationFrame(() => {
      const isHigh = root && root.offsetHeight > (root.parentElement?.clientHeight ?? 0);
      if (isHigh) root.scrollIntoView({ block: "start" });
    });
  }

  /** The last moment at which its buttons are there. */
  override getSnapshotBeforeUpdate(): null {
    const root = this.#root.current;
    if (root && this.props.card.status === "settled" && root.matches(":focus-within")) giveFocusOn(root);
    return null;
  }

  render({ card, book, connecting }: CardProps & { connecting: Connecting }) {
    const { kind, status, decision, title, interrupt, problem } = card;
    if (status === "settled") {
      const text = outcomeWords(kind, decision ?? "", title);
      return (
        text && (
          <p class="notice outcome" ref={dress}>
            {text}
          </p>
        )
      );
    }
    const heading = `${interrupt.id}-title`;
    return (
      <div class="ask" ref={this.#root} role="group" aria-labelledby={heading} aria-busy={status === "sending"}>
        {kind === "approval" && <ApprovalCard card={card} book={book} heading={heading} />}
        {kind === "connection" && <ConnectionCard card={card} book={book} connecting={connecting} heading={heading} />}
        {kind === "form" && <FormCard card={card} book={book} heading={heading} />}
        {problem && (
          <p class="notice problem" role="alert">
            {problem}
          </p>
        )}
      </div>
    );
  }
}
