/** Which kind of credential a document asks for, to fill a form with. */
import { isRecord } from "../schema/schema-keywords.ts";
import { followed } from "./openapi-parts.ts";
import type { OpenapiDocument } from "./read-document.ts";

/** Settings' `auth` without what is secret. */
export type SuggestedAuth =
  | { type: "none" }
  | { type: "apiKey"; in: "header" | "query" | "cookie"; name: string }
  | { type: "bearer" }
  | { type: "basic" }
  | { type: "oauth2_client_credentials"; tokenUrl: string; scope?: string };

/** Of the schemes that the document requires, otherwise of all it names, the first that a toolkit can use. */
export function suggestedAuth(document: OpenapiDocument): SuggestedAuth {
  const { components, security } = document.root;
  const schemes = isRecord(components) && isRecord(components.securitySchemes) ? components.securitySchemes : {};
  const required = Array.isArray(security) ? security.flatMap((one) => (isRecord(one) ? Object.keys(one) : [])) : [];
  const named = required.length > 0 ? required : Object.keys(schemes);
  for (const name of named) {
    const scheme = Object.hasOwn(schemes, name) ? followed(document, schemes[name]) : null;
    const suggestion = scheme && suggestionOf(scheme);
    if (suggestion) return suggestion;
  }
  return { type: "none" };
}

function suggestionOf(scheme: Record<string, unknown>): SuggestedAuth | null {
  const { type, name, in: place } = scheme;
  if (
    type === "apiKey" &&
    typeof name === "string" &&
    (place === "header" || place === "query" || place === "cookie")
  ) {
    return { type, in: place, name: name.slice(0, 100) };
  }
  if (type === "http") {
    const kind = typeof scheme.scheme === "string" ? scheme.scheme.toLowerCase() : "";
    return kind === "basic" ? { type: "basic" } : kind === "bearer" ? { type: "bearer" } : null;
  }
  if (type === "openIdConnect") return { type: "bearer" };
  if (type !== "oauth2") return null;
  const flow = isRecord(scheme.flows) ? scheme.flows.clientCredentials : undefined;
  if (!isRecord(flow) || typeof flow.tokenUrl !== "string") return { type: "bearer" };
  const scope = isRecord(flow.scopes) ? Object.keys(flow.scopes).join(" ").slice(0, 2_000) : "";
  return {
    type: "oauth2_client_credentials",
    tokenUrl: flow.tokenUrl.slice(0, 2_000),
    ...(scope === "" ? {} : { scope }),
  };
}
