/** Settings of a toolkit that Composio executes. */
import { z } from "zod";
import { settingsProblems } from "../settings-problems.ts";
import type { ParsedSettings } from "../toolkit-kind.ts";

const toolSlug = z.string().regex(/^[A-Z0-9][A-Z0-9_-]{0,199}$/, "must be a tool's slug, as GMAIL_SEND_EMAIL");

const composioSettings = z.strictObject({
  /** Composio's name for the service, as `gmail`. */
  toolkit: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,99}$/, "must be a toolkit's slug, as gmail"),
  /** As `20250909_00`. Absent: the newest when the toolkit is installed or refreshed; its tools keep it from then on. */
  version: z
    .string()
    .regex(/^\d{8}_\d{2}$/, "must be a version, as 20250909_00")
    .optional(),
  /** Absent: those that Composio calls important. */
  tools: z.array(toolSlug).min(1).max(200).optional(),
  /** How people sign in there. Absent: the one that Composio manages. */
  authConfigId: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,100}$/, "must be the id of an auth config")
    .optional(),
  /** Whose account its tools act with. */
  connections: z.enum(["tenant", "visitor", "none"]),
});

export type ComposioSettings = z.output<typeof composioSettings>;

export function parseComposioSettings(value: unknown): ParsedSettings<ComposioSettings> {
  const { overrides: _overrides, ...own } = (value ?? {}) as Record<string, unknown>;
  const parsed = composioSettings.safeParse(own);
  if (parsed.success) return { settings: parsed.data, problems: null };
  return { settings: null, problems: settingsProblems(parsed.error) };
}
