import type { SiteProfile } from "@agent-engine/protocol/resources.ts";
import type { AgentEngineError } from "@agent-engine/sdk/problem.ts";
import { currentRun } from "@agent-engine/sdk/current-run.ts";
import { activityOf } from "./activity.ts";
import { Composer } from "./composer.tsx";
import { connectionNotice } from "./connection-notice.ts";
import { CloseIcon, NewIcon } from "./icons.tsx";
import { giveFocusOn } from "./phone.ts";
import type { Session, View } from "./session.ts";
import { timelineOf } from "./timeline.ts";
import { TimelineView } from "./timeline-view.tsx";
import { words } from "./words.ts";

interface Props {
  session: Session;
  view: View;
  /** null where the panel is a part of the page. */
  onClose: (() => void) | null;
}

export function PanelView({ session, view, onClose }: Props) {
  const { client } = session;
  const { state, site, isOnline, announcement } = view;
  const error = view.error ?? state.error;
  const items = view.weave(timelineOf(state), state);
  // An open card says what is waited for. Offline nobody here knows what goes on: the line above says what will be.
  const isSilent = !isOnline || items.some((item) => item.kind === "card" && item.isOpen);
  const notice = error ? null : connectionNotice(state.connection, isOnline, view.wasLive);
  const isResuming = state.conversationId !== null && !state.isLoaded;
  const name = site?.agent.name ?? (error ? words.chat : "");

  return (
    <>
      <header>
        <span class="avatar" aria-hidden="true">
          {name.slice(0, 1)}
        </span>
        <div class="title">
          <h2 id="title">{name}</h2>
          {site && <p>{site.name}</p>}
        </div>
        {items.length > 0 && (
          <button
            class="plain"
            aria-label={words.newConversation}
            title={words.newConversation}
            onClick={(event) => {
              giveFocusOn(event.currentTarget);
              client.reset();
            }}
          >
            <NewIcon />
          </button>
        )}
        {onClose && (
          <button class="plain" aria-label={words.close} title={words.close} onClick={onClose}>
            <CloseIcon />
          </button>
        )}
      </header>
      {notice && (
        <div class="connection" role="status">
          {notice}
        </div>
      )}
      {error && items.length === 0 ? (
        <Failure error={error} onRetry={() => void session.start()} />
      ) : items.length === 0 ? (
        <Welcome site={site} isResuming={isResuming} onPick={client.send} />
      ) : (
        <TimelineView items={items} activity={isSilent ? null : activityOf(state)} client={client} speaker={name} />
      )}
      {(!error || error.isTransient) && (
        <Composer
          isBusy={currentRun(state.conversation) !== null}
          onSend={client.send}
          onStop={() => void client.cancel().catch(() => {})}
        />
      )}
      {site && !site.agent.isLanguageModel && <p class="label">{words.notALanguageModel}</p>}
      <div class="spoken" aria-live="polite">
        {announcement}
      </div>
    </>
  );
}

interface WelcomeProps {
  site: SiteProfile | null;
  isResuming: boolean;
  onPick(text: string): void;
}

function Welcome({ site, isResuming, onPick }: WelcomeProps) {
  if (!site || isResuming) {
    return (
      <div class="welcome" role="status" aria-label={words.loading}>
        <i class="ghost" />
        <i class="ghost" />
      </div>
    );
  }
  const { greeting, suggestions } = site.agent;
  return (
    <div class="welcome">
      {greeting && <p class="greeting">{greeting}</p>}
      <div class="suggestions" role="group" aria-label={words.suggestions}>
        {suggestions.map((text) => (
          <button
            key={text}
            onClick={(event) => {
              giveFocusOn(event.currentTarget);
              onPick(text);
            }}
          >
            {text}
          </button>
        ))}
      </div>
    </div>
  );
}

function Failure({ error, onRetry }: { error: AgentEngineError; onRetry(): void }) {
  return (
    <div class="failure" role="alert">
      <p>{error.isTransient ? words.failedToStart : words.notSetUp}</p>
      {error.isTransient && <button onClick={onRetry}>{words.tryAgain}</button>}
    </div>
  );
}
