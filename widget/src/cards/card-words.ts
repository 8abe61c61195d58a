/** What the cards say, in English. */
import type { CardKind } from "./card.ts";

export const cardWords = {
  approve: "Approve",
  decline: "Decline",
  sending: "Sending…",
  showAll: "Show all",
  showLess: "Show less",
  teamDecides: "Someone from the team has to confirm this before it is done.",
  mayI: "This is done only if you approve it.",
  yes: "Yes",
  no: "No",
  none: "–",
  notNow: "Not now",
  openAgain: "Open the page again",
  openHere: "Open the page",
  blocked: "Your browser kept the page from opening.",
  submit: "Send",
  dismiss: "Not now",
  required: "required",
  choose: "Choose…",
  connect: (title: string) => `Connect ${title}`,
  whyConnect: (title: string) => `To go on, the assistant needs your permission to use your ${title} account.`,
  waitingFor: (title: string) => `Waiting for ${title}… Finish on the page that opened, here or on another device.`,
  asked: (title: string) => `Your answer is needed: ${title}`,
};

/** What became of a card, once it is decided; null where the conversation says it already. */
export function outcomeWords(kind: CardKind, decision: string, title: string): string | null {
  switch (decision) {
    case "approve":
      return `Approved: ${title}`;
    case "decline":
      return kind === "connection" ? `Not connected: ${title}` : `Declined: ${title}`;
    case "connected":
      return `Connected: ${title}`;
    case "result":
      return `Sent: ${title}`;
    case "error":
      return `Not filled in: ${title}`;
    case "expired":
      return `Not answered in time: ${title}`;
    case "withdrawn":
      return null;
    default:
      return `Decided: ${title}`;
  }
}

/** Why a field of a form cannot be sent as it is. */
export function fieldProblem(validity: ValidityState, type: string): string {
  if (validity.valueMissing && !validity.badInput) return "Please fill this in.";
  switch (type) {
    case "email":
      return "This is not an e-mail address.";
    case "number":
      return "This is not a number.";
    case "date":
      return "This is not a date.";
    default:
      return "This cannot be sent as it is.";
  }
}
