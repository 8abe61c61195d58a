/** Something a run waits for that its visitor sees as a card: an interrupt, and what this page knows about it. */
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { FormField } from "./form-fields.ts";

export type CardKind = "approval" | "connection" | "form";

export interface Card {
  readonly kind: CardKind;
  readonly runId: string;
  readonly interrupt: Interrupt;
  readonly title: string;
  /** The seq at which the run asked: messages before it stand above the card. */
  readonly seq: number;
  /** What the visitor typed so far, by field. */
  readonly draft: Record<string, string>;
  /** `sending` a decision, `failed` to; `settled` by whomever. */
  status: "open" | "sending" | "failed" | "settled";
  /** Why sending failed, for the visitor. */
  problem: string | null;
  /** What was decided, as the log says it; `expired` by nobody in time, `withdrawn` when the run ended without it. */
  decision: string | null;
  /** Where an account is being connected. */
  link: { url: string; expiresAt: string | null } | null;
  /** The browser did not let the page open. */
  isBlocked: boolean;
}

/** What a card's metadata may hold, as far as cards read it; each may be missing. */
export interface CardMetadata {
  kind?: string;
  title?: string;
  toolkit?: string;
  tool?: string;
  description?: string;
  by?: string;
  arguments?: unknown;
  fields?: FormField[];
}

export function metadataOf({ interrupt }: Pick<Card, "interrupt">): CardMetadata {
  return interrupt.metadata ?? {};
}

/** null for what is no visitor's business, and for what the page itself executes. */
export function kindOf({ reason, metadata }: Interrupt): CardKind | null {
  switch (reason) {
    case "approval":
    case "connection":
      return reason;
    case "client_tool":
      return metadata?.["kind"] === "form" ? "form" : null;
    default:
      return null;
  }
}

/** What it is about, in a few words: its title, else the tool's name as people write. */
export function titleOf(interrupt: Interrupt): string {
  const { title, toolkit = "", tool = "" } = metadataOf({ interrupt });
  if (title) return title;
  return inWords(tool.startsWith(`${toolkit}_`) ? tool.slice(toolkit.length + 1) : tool) || inWords(toolkit);
}

/** `cancelOrder` and `cancel_order`: Cancel order. */
export function inWords(name: string): string {
  const spaced = name
    .replace(/([a-z\d])([A-Z])/g, (_both, before: string, after: string) => `${before} ${after.toLowerCase()}`)
    .replace(/[_\-.\s]+/g, " ")
    .trim();
  return spaced.slice(0, 1).toUpperCase() + spaced.slice(1);
}
