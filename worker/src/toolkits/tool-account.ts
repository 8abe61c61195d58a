import { useConnection } from "@agent-engine/core/connections/use-connection.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import type { OpenInstalled } from "@agent-engine/core/toolkits/installed/open-installed.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import type { ToolDescription } from "@agent-engine/core/toolkits/toolkit.ts";
import type { VisitorId } from "@agent-engine/protocol/ids.ts";
import type { ToolAccount } from "../engine/bound-tool.ts";

/** Whose account a tool of an installed toolkit acts with in a run; undefined where it needs none. */
export function toolAccount(
  ctx: Ctx,
  deps: KindDeps,
  { toolkitId, title, connectionId }: OpenInstalled,
  { connection }: ToolDescription,
  visitorId: VisitorId | null,
): ToolAccount | undefined {
  if (connection === "none") return undefined;
  const isVisitors = connection === "visitor";
  return {
    toolkitId,
    title,
    mayConnect: isVisitors && visitorId !== null,
    connect: async () => {
      // A run without a visitor must never fall back on the tenant's own account.
      if (isVisitors && visitorId === null) return null;
      return useConnection(ctx, deps, { toolkitId, visitorId: isVisitors ? visitorId : null, connectionId });
    },
  };
}
