import { z } from "zod";
import type { ParsedSettings } from "../toolkit-kind.ts";
import { isTimeZone } from "./time-zone.ts";

/** The tools there are, without their namespace. */
export const BUILTIN_TOOLS = ["current_time", "schedule_follow_up", "hand_over", "collect_form"] as const;

export interface BuiltinSettings {
  /** An IANA name; what times are told in unless the model asks for another. */
  timeZone?: string;
}

const settingsSchema = z.strictObject({
  timeZone: z.string().refine(isTimeZone, 'must be an IANA time zone, for instance "Europe/Berlin"').optional(),
});

export function parseBuiltinSettings(value: unknown): ParsedSettings<BuiltinSettings> {
  const parsed = settingsSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) =>
      [path.join("."), message].filter(Boolean).join(" "),
    );
    return { settings: null, problems };
  }
  const { timeZone } = parsed.data;
  return { settings: timeZone === undefined ? {} : { timeZone }, problems: null };
}

/** Names among an agent's policies that no built-in tool has. */
export function unknownBuiltinTools(tools: Readonly<Record<string, unknown>>): string[] {
  const known = new Set(BUILTIN_TOOLS.flatMap((name): string[] => [name, `builtin_${name}`]));
  return Object.keys(tools).filter((name) => !known.has(name));
}
