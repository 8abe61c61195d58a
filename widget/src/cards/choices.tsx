import { cardWords } from "./card-words.ts";
import type { Card } from "./card.ts";

interface Props {
  card: Card;
  yes: string;
  no: string;
  /** Left out where a form's submit is the answer. */
  onYes?: () => void;
  onNo(): void;
}

/** The two buttons of a card. They keep the focus while they send: what is disabled would lose it. */
export function Choices({ card, yes, no, onYes, onNo }: Props) {
  const isSending = card.status === "sending";
  return (
    <div class="choices">
      <button class="yes" type={onYes ? "button" : "submit"} aria-disabled={isSending} onClick={onYes}>
        {isSending ? cardWords.sending : yes}
      </button>
      <button class="no" type="button" aria-disabled={isSending} onClick={onNo}>
        {no}
      </button>
    </div>
  );
}
