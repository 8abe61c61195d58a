import type { BuiltinDeps } from "@agent-engine/core/toolkits/builtin/builtin-tool.ts";

/** For tests that are about other tools. */
export const NO_BUILTIN: BuiltinDeps = {
  now: Date.now,
  hasVisitor: false,
  planFollowUp: async () => ({ problem: "not in this test" }),
  handOver: async () => ({ problem: "not in this test" }),
};
