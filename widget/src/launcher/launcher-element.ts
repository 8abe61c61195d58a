import { ReactiveElement, unsafeCSS } from "@lit/reactive-element";
import type { Identity, PageTool, Panel, PanelModule, ThemeName, WidgetEvent, WidgetHost } from "../widget-api.ts";
import styles from "./launcher.css?inline";

export const script = document.currentScript as HTMLScriptElement;

/** `<agent-widget>`: the button, and the door to the panel, which loads when it is first wanted. */
export class LauncherElement extends ReactiveElement implements WidgetHost {
  static override properties = { isOpen: { type: Boolean, attribute: "open", reflect: true } };
  static override styles = unsafeCSS(styles);

  declare isOpen: boolean | undefined;
  readonly apiUrl = new URL(".", script.src).href;
  readonly button = document.createElement("button");
  identity: Identity | undefined;
  readonly tools = new Set<PageTool>();
  #panel: Promise<Panel> | undefined;
  /** Ends the panel's address: nothing at first, so that the panel's own chunks, which import from it, find it loaded. */
  #retry = "";

  get siteKey(): string | null {
    return this.getAttribute("site-key");
  }

  protected override createRenderRoot(): HTMLElement | DocumentFragment {
    const root = super.createRenderRoot();
    const { button } = this;
    button.part = "launcher";
    button.ariaLabel = "Chat";
    button.ariaHasPopup = "dialog";
    button.onclick = () => this.toggle();
    button.onpointerenter = button.onfocus = () => this.load();
    root.append(button);
    // It was open in this tab before a reload; storage may be forbidden.
    try {
      this.isOpen ||= !!sessionStorage[`agent-widget:${this.siteKey}:open`];
    } catch {}
    return root;
  }

  protected override firstUpdated(): void {
    if (this.isOpen || this.getAttribute("mode")) void this.open(false);
    this.announce("ready");
  }

  protected override updated(): void {
    this.button.ariaExpanded = `${!!this.isOpen}`;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    void this.#panel?.then((panel) => {
      // Moved to another place on the page, it stays what it is.
      if (this.isConnected) return;
      panel.destroy();
      this.#panel = undefined;
    });
  }

  /** Loads the panel once; after a failure under another address, as browsers remember failed modules. */
  load(): Promise<Panel> {
    return (this.#panel ??= import(`${this.apiUrl}widget/${PANEL_FILE}${this.#retry}`).then(
      ({ mountPanel }: PanelModule) => mountPanel(this, this.renderRoot as ShadowRoot),
      (error) => {
        this.#retry += "?";
        this.#panel = undefined;
        this.isOpen = false;
        this.announce("error", { code: "network", detail: `${error}` });
        throw error;
      },
    ));
  }

  async open(takesFocus = true): Promise<void> {
    this.isOpen = true;
    const panel = await this.load();
    if (this.isOpen) panel.show(takesFocus);
  }

  async close(): Promise<void> {
    this.isOpen = false;
    (await this.#panel)?.hide();
  }

  toggle(): void {
    void (this.isOpen ? this.close() : this.open());
  }

  async send(text: string): Promise<void> {
    (await this.load()).send(text);
  }

  identify(identity: Identity): void {
    this.identity = identity;
    void this.#panel?.then((panel) => panel.identify());
  }

  async reset(): Promise<void> {
    (await this.load()).reset();
  }

  registerTool(...tool: PageTool): () => void {
    const rule = /^[a-z][\w-]{0,40}$/i;
    if (!rule.test(tool[0])) throw new TypeError(`registerTool: ${tool[0]} must match ${rule}`);
    const { tools } = this;
    const offer = () => void this.#panel?.then((panel) => panel.offerTools());
    tools.add(tool);
    offer();
    return () => {
      tools.delete(tool);
      offer();
    };
  }

  async setTheme(theme: ThemeName | Record<string, string>): Promise<void> {
    (await this.load()).setTheme(theme);
  }

  async doctor() {
    return (await this.load()).doctor();
  }

  on(event: WidgetEvent, listener: (event: Event) => void): void {
    this.addEventListener(`agent-widget:${event}`, listener);
  }

  off(event: WidgetEvent, listener: (event: Event) => void): void {
    this.removeEventListener(`agent-widget:${event}`, listener);
  }

  announce(event: WidgetEvent, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(`agent-widget:${event}`, { bubbles: true, composed: true, detail }));
  }

  destroy(): void {
    this.remove();
    delete window.AgentWidget;
  }
}
