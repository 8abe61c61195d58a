/** The panel's entry: loaded when the launcher is first touched, mounted into its shadow root. */
import { render } from "preact";
import type { Panel, WidgetHost } from "../widget-api.ts";
import { adopt } from "./adopt.ts";
import launcherStates from "./launcher-states.css?inline";
import styles from "./panel.css?inline";
import { PanelView } from "./panel-view.tsx";
import { followVisibleViewport, FULL_SCREEN, keepFocusInside } from "./phone.ts";
import { openSession, type View } from "./session.ts";
import { setTheme } from "./theme.ts";
import { words } from "./words.ts";

const sheet = new CSSStyleSheet();
sheet.replaceSync(launcherStates + styles);

/** @public The launcher loads this file by its name. */
export function mountPanel(host: WidgetHost, root: ShadowRoot): Panel {
  const { button } = host;
  const isPartOfPage = host.hasAttribute("mode") && host.getAttribute("mode") !== "bubble";
  const panel = document.createElement("section");
  panel.id = "panel";
  panel.part.add("panel");
  panel.hidden = true;
  panel.tabIndex = -1;
  panel.setAttribute("aria-labelledby", "title");
  if (!isPartOfPage) panel.role = "dialog";
  root.append(panel);
  adopt(sheet)(panel);

  const onClose = isPartOfPage ? null : () => void host.close();
  const paint = (view: View) => render(<PanelView session={session} view={view} onClose={onClose} />, panel);
  const session = openSession(host, {
    paint,
    onMessage({ id, role, text }) {
      if (role === "assistant" && panel.hidden) setUnread(true);
      host.announce("message", { id, role, text });
    },
  });
  let stopFollowing = () => {};
  let hasStarted = false;

  panel.addEventListener("keydown", (event) => {
    // What is typed here is none of the page's shortcuts.
    event.stopPropagation();
    if (event.key === "Escape" && !isPartOfPage) void host.close();
    keepFocusInside(panel, event);
  });

  function setUnread(isUnread: boolean): void {
    host.toggleAttribute("unread", isUnread);
    button.ariaLabel = host.isOpen ? words.close : isUnread ? words.openChatUnread : words.openChat;
  }

  /** Remembers in this tab that it is open, so that a reload opens it again. */
  function remember(isOpen: boolean): void {
    const key = `agent-widget:${host.siteKey}:open`;
    try {
      if (isOpen) sessionStorage.setItem(key, "1");
      else sessionStorage.removeItem(key);
    } catch {
      // Storage is forbidden here: a reload finds the panel closed.
    }
  }

  return {
    show(takesFocus) {
      if (!hasStarted) {
        hasStarted = true;
        paint(session.getView());
        void session.start();
      }
      session.offerTools();
      const wasHidden = panel.hidden;
      panel.hidden = false;
      panel.ariaModal = `${!isPartOfPage && matchMedia(FULL_SCREEN).matches}`;
      setUnread(false);
      if (!isPartOfPage) {
        remember(true);
        stopFollowing();
        stopFollowing = followVisibleViewport(panel);
      }
      if (takesFocus) panel.querySelector<HTMLElement>(".composer textarea")?.focus();
      if (wasHidden) host.announce("open");
    },
    hide() {
      if (panel.hidden || isPartOfPage) return;
      const hadFocus = panel.contains(root.activeElement);
      panel.hidden = true;
      panel.tabIndex = -1;
      remember(false);
      setUnread(false);
      stopFollowing();
      if (hadFocus) button.focus();
      host.announce("close");
    },
    send(text) {
      void host.open(false);
      session.client.send(text);
    },
    identify() {
      if (hasStarted) void session.start();
    },
    reset: session.reset,
    offerTools: session.offerTools,
    setTheme: (theme) => setTheme(host, theme),
    async doctor() {
      const { examine } = await import("./doctor.ts");
      return examine(host, session);
    },
    destroy() {
      session.close();
      stopFollowing();
      render(null, panel);
      panel.remove();
    },
  };
}
