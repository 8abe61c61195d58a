/** A service that describes itself by an OpenAPI 3 document: its operations are tools. */
import type { ToolkitKind } from "../toolkit-kind.ts";
import { discoverOperations } from "./discover-operations.ts";
import { mapOpenapiSecrets, parseOpenapiSettings, type OpenapiSettings } from "./openapi-settings.ts";
import { openapiToolkit } from "./openapi-toolkit.ts";
import { readDocument } from "./read-document.ts";

export const openapiKind: ToolkitKind<OpenapiSettings> = {
  kind: "openapi",
  parse: parseOpenapiSettings,
  mapSecrets: mapOpenapiSecrets,
  async discover(name, settings, { egress }, signal) {
    const document = await readDocument(settings.document, egress, signal);
    return discoverOperations(name, settings, document, signal);
  },
  open: openapiToolkit,
};
