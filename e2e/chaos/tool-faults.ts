/** What a tool call suffers travels in its argument, and only the first call with that argument does. */
import type { LedgerEntry, ToolFault } from "@agent-engine/testing/tool-server.ts";

export const HANGS_BEFORE = "hangs before its effect";
export const HANGS_AFTER = "hangs after its effect";

const seen = new Set<string>();

export function toolFaultOf(call: LedgerEntry): ToolFault | null {
  const { value } = (call.body ?? {}) as { value?: string };
  if (value === undefined || seen.has(value)) return null;
  seen.add(value);
  if (value.startsWith(HANGS_BEFORE)) return { kind: "hang", when: "before" };
  if (value.startsWith(HANGS_AFTER)) return { kind: "hang", when: "after" };
  return null;
}
