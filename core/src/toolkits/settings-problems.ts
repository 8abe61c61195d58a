import type { z } from "zod";

/** What is wrong with a toolkit's settings: one line for each problem, with its place. */
export function settingsProblems({ issues }: z.ZodError): string[] {
  return issues.map((issue) => {
    const message = issue.code === "invalid_key" ? (issue.issues[0]?.message ?? issue.message) : issue.message;
    return `${issue.path.join(".") || "settings"}: ${message}`;
  });
}
