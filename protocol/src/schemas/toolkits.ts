/** Zod schemas of the bodies about toolkits and connections. Servers only. */
import { z } from "zod";
import { cleanText } from "../clean-text.ts";

const text = (max: number) =>
  z
    .string()
    .max(max)
    .transform(cleanText)
    .refine((value) => value.trim() !== "", "must not be empty");
const settings = z.record(z.string(), z.unknown());

export const toolkitRequest = z.strictObject({
  kind: z.enum(["http", "openapi", "mcp", "composio"]),
  /** Namespace of its tools' names. */
  name: z.string().regex(/^[a-zA-Z][a-zA-Z0-9_-]{0,40}$/, "must be a letter, then letters, digits, _ or -, 41 at most"),
  title: text(200).optional(),
  settings,
});

export const toolkitUpdateRequest = z.strictObject({ title: text(200), settings }).partial();

export const toolTestRequest = z.strictObject({
  arguments: z.record(z.string(), z.unknown()).default({}),
  /** Which of the tenant's accounts; the default one where none is named. */
  connectionId: z.string().max(100).optional(),
});

/** A visitor names the run that waits and its interrupt; staff the toolkit, and a `connectionId` to connect one anew. */
export const connectionLinkRequest = z.strictObject({
  runId: z.string().max(100).optional(),
  interruptId: z.string().max(100).optional(),
  toolkitId: z.string().max(100).optional(),
  label: text(200).optional(),
  connectionId: z.string().max(100).optional(),
});

export const connectionUpdateRequest = z.strictObject({ label: text(200), isDefault: z.literal(true) }).partial();
