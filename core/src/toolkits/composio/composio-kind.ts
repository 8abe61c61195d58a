/** Toolkits that Composio executes: hundreds of services, with accounts that people connect at their providers. */
import { createRedactor } from "../../secrets/without-secrets.ts";
import type { ToolkitKind } from "../toolkit-kind.ts";
import { openComposio } from "./composio-client.ts";
import { composioConnector } from "./composio-connector.ts";
import { classifyComposioFailure } from "./composio-failure.ts";
import { parseComposioSettings, type ComposioSettings } from "./composio-settings.ts";
import { discoverComposio } from "./discover.ts";
import { executeComposio } from "./execute.ts";

export const composioKind: ToolkitKind<ComposioSettings> = {
  kind: "composio",
  parse: parseComposioSettings,
  // The installation's key is not among them, and accounts are kept as ids.
  mapSecrets: (settings) => settings,
  discover: discoverComposio,
  open(name, settings, tools, deps) {
    const byName = new Map(tools.map((tool) => [tool.name, tool]));
    // The SDK takes a moment to load: better while the model still thinks.
    if (deps.composio) void openComposio(deps.composio).catch(() => undefined);
    const redactor = createRedactor(deps.composio ? [deps.composio.apiKey] : []);
    return {
      name,
      // One provider that is not well says nothing about the others that are reached the same way.
      host: `${deps.composio ? new URL(deps.composio.baseUrl).host : "composio"}/${settings.toolkit}`,
      list: () => Promise.resolve(tools),
      describe: (wanted) => Promise.resolve(byName.get(wanted) ?? null),
      execute(wanted, request) {
        const tool = byName.get(wanted);
        if (!tool) return Promise.resolve({ content: { error: "There is no such tool." }, isError: true });
        return executeComposio(tool, settings.toolkit, request, deps);
      },
      classifyFailure(error) {
        const failure = classifyComposioFailure(error, deps.now());
        return { ...failure, detail: redactor.whole(failure.detail) };
      },
    };
  },
  connector: composioConnector,
};
