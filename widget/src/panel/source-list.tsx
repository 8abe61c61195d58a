import type { Citation } from "@agent-engine/protocol/events.ts";
import { adopt } from "./adopt.ts";
import { icon } from "./icons.tsx";
import { safeLink } from "./safe-link.ts";
import styles from "./source-list.css?inline";
import { shownNumber } from "./sources.ts";
import { words } from "./words.ts";

export interface SourceListProps {
  citations: readonly Citation[];
  /** The answer: its marks and these chips show the same numbers. */
  text: string;
  open: number | null;
  onToggle(index: number): void;
}

const LinkIcon = icon("M8 16 17 7M10 7h7v7");

const sheet = new CSSStyleSheet();
sheet.replaceSync(styles);

/** The sources of an answer as numbered chips; one at a time shows what it says. Loaded with the first answer that has any. */
export function SourceList({ citations, text, open, onToggle }: SourceListProps) {
  const shown = open === null ? undefined : citations[open];
  return (
    <div class="sources" ref={adopt(sheet)} role="group" aria-label={words.sources}>
      {citations.map(({ number, title }, index) => (
        <button
          key={index}
          class="chip"
          aria-expanded={index === open}
          aria-label={words.source(shownNumber(number, text), title)}
          onClick={() => onToggle(index)}
        >
          <b>{shownNumber(number, text)}</b>
          <span>{title}</span>
        </button>
      ))}
      {shown && <SourceCard citation={shown} />}
    </div>
  );
}

function SourceCard({ citation: { quote, url } }: { citation: Citation }) {
  const href = url === null ? null : safeLink(url);
  return (
    <div class="card">
      <blockquote>{quote}</blockquote>
      {href && (
        <a href={href} target="_blank" rel="noopener noreferrer">
          {words.openSource}
          <LinkIcon />
        </a>
      )}
    </div>
  );
}
