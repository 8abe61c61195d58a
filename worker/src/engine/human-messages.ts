/** What visitors read when a run cannot go on: no vendor, no code, and always what they can do. */

const failed: Record<string, string> = {
  context_too_long: "This conversation has become too long for the assistant. Please start a new conversation.",
  content_filtered: "The assistant cannot answer this message. Please put it in other words.",
};

const FAILED =
  "The assistant could not finish this answer. Please try again later, or contact the team if it keeps happening.";

/** For a run that failed for good. */
export function failedMessage(code: string): string {
  return failed[code] ?? FAILED;
}

export const MODEL_WAITS =
  "The assistant is having trouble answering right now. The team can let it continue; you can also send a new message.";

export const TOOL_WAITS =
  "The assistant could not finish an action and is waiting for the team. You can also send a new message.";

export const OUTCOME_UNKNOWN =
  "The assistant is not certain that an action went through, so the team will check it. You can also send a new message.";

/** Said in the conversation, as an answer. */
export const BUDGET_SPENT =
  "I cannot answer any more for now: this assistant has reached its limit. Please try again later, or contact the team.";

export const CONNECTION_NEEDED = "The assistant needs you to connect your account before it can go on.";

export const TEAM_APPROVAL_NEEDED = "The assistant waits for the team to approve an action.";

export const APPROVAL_NEEDED = "The assistant needs approval before it takes this action.";
