import type { ToolkitChoice, ToolPolicy } from "@agent-engine/protocol/resources.ts";

/**
 * What an agent says of a tool, by the first of its names that is spoken of. Names come from outside: one like
 * `constructor` must not find what every object has.
 */
export function toolPolicy(
  { tools, defaultPolicy }: Pick<ToolkitChoice, "tools" | "defaultPolicy">,
  ...names: readonly string[]
): ToolPolicy {
  for (const name of names) {
    const policy = Object.hasOwn(tools, name) ? tools[name] : undefined;
    if (policy) return policy;
  }
  return defaultPolicy;
}
