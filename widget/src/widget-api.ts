/** What the launcher and the panel agree on, and what customers' pages see. Types only. */

export type WidgetEvent = "open" | "close" | "message" | "run" | "error" | "ready";

/** A token, or where to get one. */
export type Identity = string | (() => string | Promise<string>);

export type ThemeName = "light" | "dark" | "auto";

/** `window.AgentWidget`: the element itself. */
export interface AgentWidgetApi {
  /** The input takes the focus, unless told not to. */
  open(takesFocus?: boolean): Promise<void>;
  close(): Promise<void>;
  toggle(): void;
  /** Opens the panel and sends a message as the visitor. */
  send(text: string): Promise<void>;
  /**
   * Makes the visitor the person that your server's identity token names, with all they said so far. A function is asked
   * for one when the chat is opened, so that it is never an old one.
   */
  identify(identity: Identity): void;
  /** Signs the visitor out: what follows is said by somebody new, and this browser shows nothing of before. */
  reset(): Promise<void>;
  /**
   * Offers the model something that this page can do, while the chat is open. The handler gets the arguments, which fit
   * `schema.parameters`, and answers anything that is JSON, within 50 s; what it throws, the model reads. Of one name
   * the newest tool counts. Answers how to take it away.
   * @throws TypeError when the name is not a letter followed by at most 40 letters, digits, `_` or `-`
   */
  registerTool(...tool: PageTool): () => void;
  /** `light`, `dark` or `auto` (the system's), or custom properties by their name without `--agent-widget-`. */
  setTheme(theme: ThemeName | Record<string, string>): Promise<void>;
  /** The events `agent-widget:open` … by their short names; the listener gets the event with its `detail`. */
  on(event: WidgetEvent, listener: (event: Event) => void): void;
  off(event: WidgetEvent, listener: (event: Event) => void): void;
  /** Finds out why the widget does not work on this page. */
  doctor(): Promise<DoctorReport>;
  /** Removes the widget and closes its connection. */
  destroy(): void;
}

export interface PageToolSchema {
  /** Tells the model when and how to use it. */
  description: string;
  /** JSON Schema of the arguments: an object. */
  parameters: Record<string, unknown>;
  /** JSON Schema that the answer must fit. */
  resultSchema?: Record<string, unknown>;
}

/** `signal` aborts when nobody waits for the answer any more. */
export type PageToolHandler = (given: Record<string, unknown>, options: { signal: AbortSignal }) => unknown;

export type PageTool = [name: string, schema: PageToolSchema, handler: PageToolHandler];

export interface DoctorReport {
  ok: boolean;
  apiUrl: string;
  siteKey: string;
  pageOrigin: string;
  checks: { name: string; ok: boolean; detail: string }[];
}

/** The launcher's element, as the panel sees it. */
export interface WidgetHost extends AgentWidgetApi, HTMLElement {
  /** Where the script came from, with a slash at the end. */
  readonly apiUrl: string;
  readonly siteKey: string | null;
  readonly button: HTMLButtonElement;
  isOpen: boolean | undefined;
  /** What the page said last. */
  identity: Identity | undefined;
  /** What the page offers, oldest first. */
  readonly tools: ReadonlySet<PageTool>;
  announce(event: WidgetEvent, detail?: unknown): void;
}

/** The lazily loaded part. */
export interface Panel {
  show(takesFocus: boolean): void;
  hide(): void;
  send(text: string): void;
  identify(): void;
  reset(): void;
  /** Tells the server what the page offers now. */
  offerTools(): void;
  setTheme(theme: ThemeName | Record<string, string>): void;
  doctor(): Promise<DoctorReport>;
  destroy(): void;
}

export interface PanelModule {
  mountPanel(host: WidgetHost, root: ShadowRoot): Panel;
}
