import { Component, createRef } from "preact";
import type { ConversationClient } from "@agent-engine/sdk/conversation-client.ts";
import type { OutgoingMessage } from "@agent-engine/sdk/outbox.ts";
import type { Activity } from "./activity.ts";
import { DownIcon } from "./icons.tsx";
import { MessageView } from "./message-view.tsx";
import type { TimelineItem } from "./timeline.ts";
import { whyNotSent, words } from "./words.ts";

/** This close to its end, the list follows what is added. */
const NEAR_PX = 60;

interface Props {
  items: readonly TimelineItem[];
  activity: Activity | null;
  client: ConversationClient;
  speaker: string;
}

export class TimelineView extends Component<Props, { isAway: boolean }> {
  override state = { isAway: false };
  #list = createRef<HTMLDivElement>();
  /** The list shrinks when the keyboard opens or the composer grows. */
  #observer = new ResizeObserver(() => this.#follow());

  override componentDidMount(): void {
    this.#toEnd();
    this.#observer.observe(this.#list.current!);
  }

  override componentDidUpdate(before: Props): void {
    const last = this.props.items.at(-1);
    // What the visitor just wrote is always shown.
    if (last?.kind === "outgoing" && last.key !== before.items.at(-1)?.key) this.#toEnd();
    else this.#follow();
  }

  override componentWillUnmount(): void {
    this.#observer.disconnect();
  }

  #toEnd(): void {
    this.#list.current?.scrollTo({ top: this.#list.current.scrollHeight });
  }

  #follow(): void {
    if (!this.state.isAway) this.#toEnd();
  }

  #onScroll(): void {
    const { scrollHeight = 0, scrollTop = 0, clientHeight = 0 } = this.#list.current ?? {};
    const isAway = scrollHeight - scrollTop - clientHeight > NEAR_PX;
    if (isAway !== this.state.isAway) this.setState({ isAway });
  }

  render({ items, activity, client, speaker }: Props, { isAway }: { isAway: boolean }) {
    return (
      <div class="timeline">
        <div
          class="list"
          ref={this.#list}
          role="log"
          aria-live="off"
          aria-label={words.conversation}
          tabIndex={0}
          onScroll={() => this.#onScroll()}
        >
          {items.map((item) => {
            switch (item.kind) {
              case "message":
                return <MessageView key={item.key} message={item.message} speaker={speaker} />;
              case "outgoing":
                return <OutgoingView key={item.key} outgoing={item.outgoing} client={client} />;
              case "notice":
                return (
                  <div key={item.key} class={`notice ${item.tone}`}>
                    {item.text}
                    {item.retryText && (
                      <button onClick={() => client.send(item.retryText ?? "")}>{words.tryAgain}</button>
                    )}
                  </div>
                );
              case "card":
                return item.view;
            }
          })}
          {activity && <ActivityView {...activity} />}
        </div>
        {isAway && (
          <button class="latest" aria-label={words.newMessages} onClick={() => this.#toEnd()}>
            <DownIcon />
          </button>
        )}
      </div>
    );
  }
}

function OutgoingView({ outgoing, client }: { outgoing: OutgoingMessage; client: ConversationClient }) {
  const { clientMessageId, text, error } = outgoing;
  return (
    <div class="message mine">
      <span class="spoken">{words.you}</span>
      <div class="bubble">{text}</div>
      {error && (
        <div class="notice problem" role="alert">
          {words.notSent} {whyNotSent(error.code, error.message)}
          <button onClick={() => client.retry(clientMessageId)}>{words.tryAgain}</button>
          <button onClick={() => client.discard(clientMessageId)}>{words.remove}</button>
        </div>
      )}
    </div>
  );
}

function ActivityView({ kind, text }: Activity) {
  return (
    <div class={`activity ${kind}`} role="status">
      {kind === "busy" && (
        <span class="dots">
          <i />
          <i />
          <i />
        </span>
      )}
      {text}
    </div>
  );
}
