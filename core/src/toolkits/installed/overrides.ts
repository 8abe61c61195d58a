/** What a tenant says of a tool in place of what the other side says: `settings.overrides`, by either of its names. */
import { z } from "zod";
import { ProblemError } from "../../errors.ts";
import type { DiscoveredTool } from "../toolkit-kind.ts";

export const overridesSchema = z.record(
  z.string().max(300),
  z.strictObject({
    effect: z.enum(["read", "idempotent", "write"]).optional(),
    description: z.string().min(1).max(2_000).optional(),
    /** Whether visitors may see what goes in and what comes out. */
    showArguments: z.boolean().optional(),
    showResults: z.boolean().optional(),
  }),
);

export type Overrides = z.output<typeof overridesSchema>;

/** @throws ProblemError `invalid_request` */
export function overridesOf(settings: Record<string, unknown>): Overrides {
  const parsed = overridesSchema.safeParse(settings.overrides ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `overrides.${path.join(".")}: ${message}`);
  throw new ProblemError("invalid_request", `settings.${problems.join("; ")}.`);
}

export function applyOverrides(tool: DiscoveredTool, overrides: Overrides): DiscoveredTool {
  const own = overrides[tool.remote] ?? overrides[tool.name];
  if (!own) return tool;
  return {
    ...tool,
    effect: own.effect ?? tool.effect,
    description: own.description ?? tool.description,
    visibility: {
      arguments: own.showArguments ?? tool.visibility.arguments,
      results: own.showResults ?? tool.visibility.results,
    },
  };
}
