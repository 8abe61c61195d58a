/** What the panel says, in English. */
import type { ErrorCode } from "@agent-engine/sdk/problem.ts";

export const words = {
  chat: "Chat",
  openChat: "Open chat",
  openChatUnread: "Open chat, new message",
  close: "Close chat",
  newConversation: "New conversation",
  you: "You",
  conversation: "Conversation",
  suggestions: "Suggested questions",
  message: "Message",
  placeholder: "Write a message…",
  send: "Send",
  stop: "Stop the answer",
  thinking: "Thinking…",
  searching: "Looking through the documents…",
  working: "Working on it…",
  /** Where an interrupt does not say it itself. */
  waiting: "Waiting for a decision.",
  retrying: "Having some trouble. Trying again…",
  stopped: "Stopped",
  stoppedBefore: "This message was not answered.",
  cutOff: "The answer reached its limit.",
  tryAgain: "Try again",
  notSent: "Not sent.",
  remove: "Remove",
  sources: "Sources",
  openSource: "Open the page",
  newMessages: "Latest messages",
  notALanguageModel: "Answers quote the site’s documents. This is not a language model.",
  offline: "You are offline. Messages are sent when you are back.",
  reconnecting: "Reconnecting…",
  loading: "Loading the conversation…",
  failedToStart: "The chat is not available right now.",
  notSetUp: "This chat is not set up for this page.",
  source: (number: number, title: string) => `Source ${number}: ${title}`,
  queuedFor: (position: number, delayMs: number) =>
    `${position > 1 ? `Number ${position} in line` : "You are next"} · ${duration(delayMs)}`,
};

function duration(ms: number): string {
  if (ms < 10_000) return "a few seconds";
  if (ms < 55_000) return `about ${Math.round(ms / 10_000) * 10} seconds`;
  const minutes = Math.round(ms / 60_000);
  return minutes === 1 ? "about a minute" : `about ${minutes} minutes`;
}

/** Why a message was not sent. */
export function whyNotSent(code: ErrorCode, message: string): string {
  switch (code) {
    case "network":
      return "No connection.";
    case "unavailable":
    case "internal":
      return words.failedToStart;
    case "rate_limited":
      return "Please wait a moment.";
    case "run_active":
      return "Wait for the answer to finish.";
    case "too_large":
      return "The message is too long.";
    case "origin_not_allowed":
      return words.notSetUp;
    default:
      return message;
  }
}
