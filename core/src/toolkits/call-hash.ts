import { createHash } from "node:crypto";

/**
 * Says that two calls are the same: SHA-256 of the tool's name and its arguments with their keys sorted. Binds an approval
 * to exactly what was asked, and a recorded result to the calls that it answers.
 */
export function callHash(toolName: string, args: Record<string, unknown>): string {
  return createHash("sha256")
    .update(`${toolName}\n${sortedJson(args)}`)
    .digest("hex");
}

function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === "object" && entry !== null && !Array.isArray(entry)
      ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
      : entry,
  );
}
