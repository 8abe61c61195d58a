import { Component, createRef, type FunctionComponent } from "preact";
import type { MessageState } from "@agent-engine/protocol/state.ts";
import { createMarkdown, type Markdown } from "./markdown.ts";
import type { SourceListProps } from "./source-list.tsx";
import { citationIndex, shownNumber } from "./sources.ts";
import { words } from "./words.ts";

/** Comes with the first answer that has any. */
let SourceList: FunctionComponent<SourceListProps> | undefined;

interface Props {
  message: MessageState;
  /** Who speaks, when it is not the visitor. */
  speaker: string;
}

interface State {
  /** Index of the citation that is shown in full. */
  openSource: number | null;
}

/** One message. Its text grows in place: only what is new is written, once per frame. */
export class MessageView extends Component<Props, State> {
  override state: State = { openSource: null };
  #body = createRef<HTMLDivElement>();
  #markdown: Markdown | null = null;
  #written = 0;

  override shouldComponentUpdate(props: Props, state: State): boolean {
    return props.message !== this.props.message || props.speaker !== this.props.speaker || state !== this.state;
  }

  override componentDidMount(): void {
    this.#write();
  }

  override componentDidUpdate(_before: Props, { openSource }: State): void {
    this.#write();
    if (openSource !== this.state.openSource) {
      this.#body.current?.parentElement?.querySelector(".card")?.scrollIntoView({ block: "nearest" });
    }
  }

  #write(): void {
    const { message } = this.props;
    const body = this.#body.current;
    if (message.role === "user" || !body) return;
    this.#markdown ??= createMarkdown(body, (number) => this.#mark(number));
    if (message.text.length > this.#written) this.#markdown.write(message.text.slice(this.#written));
    this.#written = message.text.length;
    if (message.status === "streaming") return;
    if (body.ariaBusy) this.#markdown.end();
    body.ariaBusy = null;
    if (!SourceList && message.citations[0]) void this.#loadSources().catch(() => {});
  }

  async #loadSources(): Promise<void> {
    ({ SourceList } = await import("./source-list.tsx"));
    this.forceUpdate();
  }

  /** The mark of a source in the text; a click shows the source below it. */
  #mark(number: number): Element {
    const mark = document.createElement("button");
    mark.className = "mark";
    mark.textContent = `${shownNumber(number, this.props.message.text)}`;
    mark.onclick = () => {
      const index = citationIndex(number, this.props.message.citations);
      if (index >= 0) this.setState({ openSource: index });
    };
    return mark;
  }

  render({ message, speaker }: Props, { openSource }: State) {
    if (message.role === "user") {
      return (
        <div class="message mine">
          <span class="spoken">{words.you}</span>
          <div class="bubble">{message.text}</div>
        </div>
      );
    }
    return (
      <div class="message" part="message">
        <span class="spoken">{message.name ?? speaker}</span>
        {message.name && <div class="name">{message.name}</div>}
        <div class="text" ref={this.#body} aria-busy="true" />
        {SourceList && message.status !== "streaming" && message.citations[0] && (
          <SourceList
            text={message.text}
            citations={message.citations}
            open={openSource}
            onToggle={(index) => this.setState({ openSource: index === openSource ? null : index })}
          />
        )}
      </div>
    );
  }
}
