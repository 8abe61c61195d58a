import { cardWords } from "./card-words.ts";
import { metadataOf } from "./card.ts";
import type { CardProps } from "./card-view.tsx";
import { Choices } from "./choices.tsx";
import { rowsOf } from "./readable.ts";

/** Longer values are cut, and shown in full when asked. */
const CUT_LENGTH = 110;
const SHOWN_ROWS = 6;

/** What is about to be done, with what, and the choice; or who else must choose. */
export function ApprovalCard({ card, book, heading }: CardProps & { heading: string }) {
  const { by, description, arguments: given } = metadataOf(card);
  const isTeams = by === "operator";
  const rows = isTeams ? [] : rowsOf(given ?? {}).filter(({ name }) => name !== "");
  return (
    <>
      <h3 id={heading}>{card.title}</h3>
      {description && <p class="why">{firstSentence(description)}</p>}
      <Rows rows={rows.slice(0, SHOWN_ROWS)} />
      {rows.length > SHOWN_ROWS && (
        <details>
          <summary>
            <Toggle />
          </summary>
          <Rows rows={rows.slice(SHOWN_ROWS)} />
        </details>
      )}
      <p class="why">{isTeams ? cardWords.teamDecides : cardWords.mayI}</p>
      {!isTeams && (
        <Choices
          card={card}
          yes={cardWords.approve}
          no={cardWords.decline}
          onYes={() => void book.decide(card, "approve")}
          onNo={() => void book.decide(card, "decline")}
        />
      )}
    </>
  );
}

function Rows({ rows }: { rows: ReturnType<typeof rowsOf> }) {
  if (rows.length === 0) return null;
  return (
    <dl>
      {rows.map(({ name, value }, index) => (
        <div key={index}>
          <dt>{name}</dt>
          <dd>{value.length > CUT_LENGTH ? <Long text={value} /> : value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Long({ text }: { text: string }) {
  return (
    <details>
      <summary>
        <span class="cut">{text.slice(0, CUT_LENGTH).replace(/\s+\S*$/, "")}… </span>
        <Toggle />
      </summary>
      {text}
    </details>
  );
}

function Toggle() {
  return (
    <>
      <u class="more">{cardWords.showAll}</u>
      <u class="less">{cardWords.showLess}</u>
    </>
  );
}

/** Descriptions are written for models, who read on. */
function firstSentence(text: string): string {
  return /^.{1,200}?[.!?](?=\s|$)/s.exec(text.trim())?.[0] ?? (text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
