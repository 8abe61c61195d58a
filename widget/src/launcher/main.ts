/** `widget.js`: defines the element, puts one on the page, and gives it to the page as `window.AgentWidget`. */
import type { AgentWidgetApi } from "../widget-api.ts";
import { LauncherElement, script } from "./launcher-element.ts";

declare global {
  interface Window {
    AgentWidget?: AgentWidgetApi;
  }
}

const TAG = "agent-widget";

function start(): void {
  let element = document.querySelector<LauncherElement>(TAG);
  if (!element) {
    element = document.createElement(TAG) as LauncherElement;
    element.setAttribute("site-key", script.dataset["key"] ?? "");
    document.body.append(element);
  }
  window.AgentWidget = element;
}

// A second copy of the tag, or a page that runs its scripts again, changes nothing.
if (!customElements.get(TAG)) customElements.define(TAG, LauncherElement);
if (!window.AgentWidget) {
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start);
}
