import { cardWords } from "./card-words.ts";
import type { CardProps } from "./card-view.tsx";
import { Choices } from "./choices.tsx";
import { isFresh, type Connecting } from "./connecting.ts";

interface Props extends CardProps {
  connecting: Connecting;
  heading: string;
}

export function ConnectionCard({ card, book, connecting, heading }: Props) {
  const { title, link, isBlocked } = card;
  const connect = () => void connecting(card);
  return (
    <>
      <h3 id={heading}>{cardWords.connect(title)}</h3>
      <p class="why" role="status">
        {link ? (isBlocked ? cardWords.blocked : cardWords.waitingFor(title)) : cardWords.whyConnect(title)}
      </p>
      {link && isBlocked && (
        // No browser blocks a link that is clicked.
        <a
          href={link.url}
          target="_blank"
          rel="noopener noreferrer"
          onClick={(event) => {
            if (isFresh(card)) return book.patch(card, { isBlocked: false });
            event.preventDefault();
            connect();
          }}
        >
          {cardWords.openHere}
        </a>
      )}
      <Choices
        card={card}
        yes={link ? cardWords.openAgain : cardWords.connect(title)}
        no={cardWords.notNow}
        onYes={connect}
        onNo={() => void book.decide(card, "decline")}
      />
    </>
  );
}
