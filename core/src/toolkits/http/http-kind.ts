/** Operations of one HTTP service, written down by the tenant: there is nobody to ask what there is. */
import { mapSecretHeaders, originOf } from "../secret-settings.ts";
import { toolName } from "../tool-name.ts";
import type { DiscoveredTool, ToolkitKind } from "../toolkit-kind.ts";
import { httpToolkit } from "./http.ts";
import { operationEffect, parseHttpSettings, type HttpSettings } from "./http-settings.ts";

/** Its namespace is the toolkit's; the settings are those of an inline one without `name`. */
const NAMESPACE = "tools";

export const httpKind: ToolkitKind<HttpSettings> = {
  kind: "http",
  parse(value) {
    const { overrides: _overrides, ...settings } = (value ?? {}) as Record<string, unknown>;
    return parseHttpSettings({ ...settings, name: NAMESPACE });
  },
  mapSecrets: (settings, replace) => mapSecretHeaders(settings, originOf(settings.baseUrl), replace),
  async discover(name, settings) {
    const tools = settings.operations.map((operation): DiscoveredTool => ({
      name: toolName(name, operation.name),
      remote: operation.name,
      description: operation.description,
      parameters: operation.parameters,
      effect: operationEffect(operation),
      scopes: [],
      connection: "none",
      visibility: { arguments: operation.showArguments, results: operation.showResults },
    }));
    return { tools, problems: [] };
  },
  open: (name, settings, tools, { egress, now }) => {
    const toolkit = httpToolkit({ ...settings, name }, egress, now);
    return {
      ...toolkit,
      // What the tenant overrode is in the revision's tools.
      list: () => Promise.resolve(tools),
      describe: (wanted) => Promise.resolve(tools.find((tool) => tool.name === wanted) ?? null),
    };
  },
};
