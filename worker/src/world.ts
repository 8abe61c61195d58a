import type { Config } from "@agent-engine/core/config/env.ts";
import { offeredTools } from "@agent-engine/core/client-tools/offered-tools.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { createSpendingRulesReader } from "@agent-engine/core/budgets/spending-rules.ts";
import { searchKnowledge } from "@agent-engine/core/knowledge/search-knowledge.ts";
import { createProviderKeyReader } from "@agent-engine/core/models/provider-keys.ts";
import { createCircuits, type CircuitHealth, type CircuitLimits } from "./circuits.ts";
import type { ExecuteDeps } from "./execute-run.ts";
import type { ModelProvider } from "./engine/model-provider.ts";
import { followKeys } from "./providers/follow-keys.ts";
import { resolveModel } from "./providers/resolve-model.ts";
import { createVendorFetch } from "./providers/vendor-fetch.ts";
import { builtinDeps } from "@agent-engine/core/toolkits/builtin/builtin-deps.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { checkConnections } from "@agent-engine/core/connections/use-connection.ts";
import { composioAccess } from "@agent-engine/core/toolkits/composio-access.ts";
import { openInstalled } from "@agent-engine/core/toolkits/installed/open-installed.ts";
import type { CircuitReport } from "@agent-engine/core/toolkits/health/report-circuits.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import { createRateLimits } from "./rate-limits.ts";
import { bindClientTools, pageChoice } from "./toolkits/client-tools.ts";
import { bindTools } from "./toolkits/registry.ts";
import { toolAccount } from "./toolkits/tool-account.ts";

const ACCOUNTS_AT_ONCE = 20;

/** What runs reach outside: models and tools, over connections that this worker keeps open. */
export interface World extends Pick<ExecuteDeps, "modelOf" | "toolsOf" | "spendingOf"> {
  /** How well models and tools are, by tenant: what is not all well. */
  circuits(): CircuitHealth[];
  /** Tells of each circuit of a tool host that opens, is tried in vain, or closes. */
  onCircuit?: (listener: (report: CircuitReport) => void) => void;
  /** Asks about connected accounts that nobody has used for a while, whether they are still good. */
  checkAccounts?(): Promise<void>;
  close(): Promise<void>;
}

/** `stall`: the longest silence of a model; each provider has its own by default. `circuits`: when they open. */
export function openWorld(
  services: Services,
  config: Pick<Config, "nodeEnv"> & Partial<Pick<Config, "composio">>,
  options: { stall?: ModelProvider["stall"]; circuits?: CircuitLimits } = {},
): World {
  let tell: (report: CircuitReport) => void = () => {};
  const circuits = createCircuits(options.circuits, (circuit) => {
    if (circuit.of === "tool") tell(reportOf(circuit));
  });
  const rateLimits = createRateLimits();
  const vendor = createVendorFetch();
  const providerKeys = createProviderKeyReader(services);
  const spendingRules = createSpendingRulesReader(services);
  // A developer's own tools and models run on their own machine; a customer's never do.
  const egress = createEgress({ allowLoopback: config.nodeEnv !== "production" });
  const closing = new Set<Promise<void>>();
  const kinds: KindDeps = { egress, composio: composioAccess(config), now: services.clock, log: services.log };
  return {
    circuits: () => circuits.snapshot(),
    onCircuit(listener) {
      tell = listener;
    },
    modelOf: ({ config: agent }, { tenantId }) =>
      followKeys(
        () => providerKeys.of(tenantId),
        (keys, provider) =>
          resolveModel(
            { ...agent.model, provider: provider ?? agent.model.provider },
            {
              models: services.models,
              keys,
              egress,
              vendorFetch: vendor.fetch,
              circuitOf: (name, host) => circuits.circuitOf({ tenantId, of: "model", provider: name, host }),
              ...(options.stall ? { stall: options.stall } : {}),
            },
          ),
      ),
    spendingOf: (tenantId) => spendingRules.of(tenantId),
    async toolsOf(ctx, claim, { config: agent, secrets }) {
      const ofPages = pageChoice(agent.toolkits);
      const { tools, problems, close } = await bindTools(
        agent,
        {
          tenantId: claim.tenantId,
          agentId: claim.agentId,
          conversationId: claim.conversationId,
          runId: claim.runId,
          visitorId: claim.visitorId,
          correlationId: claim.correlationId,
        },
        {
          searchKnowledge: (input) => searchKnowledge(ctx, input),
          egress,
          builtin: builtinDeps(ctx, { hasVisitor: claim.visitorId !== null }),
          openInstalled: (choice) => openInstalled(ctx, kinds, choice),
          accountOf: (opened, tool) => toolAccount(ctx, kinds, opened, tool, claim.visitorId),
          secrets,
          circuitOf: (provider, host) => circuits.circuitOf({ tenantId: claim.tenantId, of: "tool", provider, host }),
          rateLimitOf: (toolkit, host, tool) =>
            rateLimits.rateLimitOf({ tenantId: claim.tenantId, toolkit, host, tool }),
        },
      );
      for (const problem of problems) services.log.warn({ runId: claim.runId, problem }, "a tool was left out");
      const taken = new Set(tools.map((tool) => tool.description.name));
      return {
        tools: [...tools, ...bindClientTools(offeredTools(claim.pages), taken, ofPages)],
        close() {
          const closed = close().finally(() => closing.delete(closed));
          closing.add(closed);
        },
      };
    },
    async checkAccounts() {
      await checkConnections(services, kinds, ACCOUNTS_AT_ONCE);
    },
    async close() {
      providerKeys.close();
      spendingRules.close();
      // Their goodbyes go out this way.
      await Promise.all(closing);
      await Promise.all([vendor.close(), egress.close()]);
    },
  };
}

function reportOf({ tenantId, provider, host, since, retryAt, failures, last }: CircuitHealth): CircuitReport {
  const open = since && retryAt ? { since, retryAt, failures, code: last?.code ?? "unknown" } : null;
  return { tenantId, toolkit: provider, host, open };
}
