/** On a phone, upright or on its side, the panel fills the screen: it follows the visible part above the keyboard, and keeps the focus inside. */

export const FULL_SCREEN = "(max-width: 480px), (max-height: 480px) and (pointer: coarse)";

/** Keeps the panel as tall as what the keyboard leaves visible. Answers how to stop. */
export function followVisibleViewport(panel: HTMLElement): () => void {
  const viewport = window.visualViewport;
  if (!viewport) return () => {};
  const fit = () => {
    panel.style.setProperty("--visible-height", `${viewport.height}px`);
    panel.style.setProperty("--visible-top", `${viewport.offsetTop}px`);
  };
  fit();
  const listening = new AbortController();
  viewport.addEventListener("resize", fit, listening);
  viewport.addEventListener("scroll", fit, listening);
  return () => listening.abort();
}

/** Tab goes round inside the panel while it covers the page. */
export function keepFocusInside(panel: HTMLElement, event: KeyboardEvent): void {
  if (event.key !== "Tab" || !matchMedia(FULL_SCREEN).matches) return;
  const stops = [...panel.querySelectorAll<HTMLElement>("button:not(:disabled), a[href], textarea, [tabindex='0']")];
  const root = panel.getRootNode() as ShadowRoot;
  const edge = event.shiftKey ? stops[0] : stops.at(-1);
  if (root.activeElement !== edge) return;
  event.preventDefault();
  (event.shiftKey ? stops.at(-1) : stops[0])?.focus();
}

/** Before a button with the focus goes away: to the input, or where that would raise a keyboard, to the panel. */
export function giveFocusOn(button: Element): void {
  const panel = button.closest<HTMLElement>("#panel");
  const next = matchMedia("(pointer: coarse)").matches
    ? panel
    : panel?.querySelector<HTMLElement>(".composer textarea");
  next?.focus();
}
