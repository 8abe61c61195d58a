import { z } from "zod";
import { cleanText } from "../clean-text.ts";

/** Longest instructions of a run to come, in UTF-16 units. */
export const MAX_SCHEDULE_LENGTH = 4_000;

export const scheduleRequest = z.strictObject({
  agentId: z.string().max(100),
  conversationId: z.string().max(100).optional(),
  /** With `Z` or an offset: a time without either means something else in each place. */
  at: z.iso.datetime({ offset: true }).max(40),
  input: z
    .string()
    .max(MAX_SCHEDULE_LENGTH)
    .transform(cleanText)
    .refine((value) => value.trim() !== "", "must not be empty"),
});
