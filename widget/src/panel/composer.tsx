import { Component, createRef } from "preact";
import { SendIcon, StopIcon } from "./icons.tsx";
import { giveFocusOn } from "./phone.ts";
import { words } from "./words.ts";

/** What the server takes, in UTF-16 units. */
const MAX_LENGTH = 32_000;

interface Props {
  isBusy: boolean;
  onSend(text: string): void;
  onStop(): void;
}

/** Enter sends, Shift+Enter breaks the line; grows with its text up to the height the style allows. */
export class Composer extends Component<Props, { text: string }> {
  override state = { text: "" };
  #input = createRef<HTMLTextAreaElement>();
  #stop = createRef<HTMLButtonElement>();

  #submit(event: Event): void {
    event.preventDefault();
    const text = this.state.text.trim();
    if (!text) return;
    this.props.onSend(text);
    this.setState({ text: "" });
    this.#input.current?.focus();
  }

  /** The last moment at which the stop button is there. */
  override getSnapshotBeforeUpdate(): null {
    const stop = this.#stop.current;
    if (!this.props.isBusy && stop?.matches(":focus")) giveFocusOn(stop);
    return null;
  }

  override componentDidUpdate(): void {
    const input = this.#input.current;
    if (!input) return;
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
  }

  override shouldComponentUpdate(props: Props, state: { text: string }): boolean {
    return state.text !== this.state.text || props.isBusy !== this.props.isBusy;
  }

  render({ isBusy, onStop }: Props, { text }: { text: string }) {
    const isEmpty = text.trim() === "";
    return (
      <form class="composer" onSubmit={(event) => this.#submit(event)}>
        <textarea
          ref={this.#input}
          rows={1}
          maxLength={MAX_LENGTH}
          enterkeyhint="send"
          aria-label={words.message}
          placeholder={words.placeholder}
          value={text}
          onInput={(event) => this.setState({ text: event.currentTarget.value })}
          onKeyDown={(event) => {
            // While an input method composes, Enter chooses a word.
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.#submit(event);
          }}
        />
        {isBusy && (
          <button ref={this.#stop} type="button" class="round stop" aria-label={words.stop} onClick={onStop}>
            <StopIcon />
          </button>
        )}
        {!(isBusy && isEmpty) && (
          <button class="round" aria-label={words.send} disabled={isEmpty}>
            <SendIcon />
          </button>
        )}
      </form>
    );
  }
}
