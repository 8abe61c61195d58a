/** Gets an OpenAPI document and reads it, as JSON or YAML. Nothing that it refers to is fetched. */
import { load as parseYaml } from "js-yaml";
import { ProblemError } from "../../errors.ts";
import type { Egress } from "../../net/egress.ts";
import { readText } from "../http/http-call.ts";
import { networkError } from "../network-error.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import type { OpenapiDocumentSource } from "./openapi-settings.ts";

/** The largest published documents are about this large. */
const MAX_DOCUMENT_BYTES = 15_000_000;
/** Slower to read than JSON, and nobody else is served meanwhile. */
const MAX_YAML_LENGTH = 5_000_000;
const FETCH_MS = 10_000;

export interface OpenapiDocument {
  root: Record<string, unknown>;
  /** Where it was found; null when it was sent. */
  url: string | null;
}

/** @throws ProblemError `invalid_request`, saying what to do */
export async function readDocument(
  source: OpenapiDocumentSource,
  egress: Egress,
  signal: AbortSignal,
): Promise<OpenapiDocument> {
  const url = "url" in source ? source.url : null;
  const root =
    "json" in source ? source.json : parsed("text" in source ? source.text : await fetched(source.url, egress, signal));
  if (!isRecord(root)) throw refused("is not an OpenAPI document: it must be an object.");
  if (typeof root.swagger === "string" || typeof root.swagger === "number") {
    throw refused("is Swagger 2.0. Convert it to OpenAPI 3 first, for instance with swagger2openapi.");
  }
  if (typeof root.openapi !== "string" || !root.openapi.startsWith("3.")) {
    throw refused('is not an OpenAPI 3 document: it must have a field `openapi` like "3.1.0".');
  }
  if (!isRecord(root.paths)) throw refused("has no `paths`, so there is nothing to call.");
  return { root, url };
}

async function fetched(url: string, egress: Egress, signal: AbortSignal): Promise<string> {
  let response: Response;
  let body: { text: string; isCut: boolean };
  try {
    response = await egress.fetch(url, {
      headers: { accept: "application/json, application/yaml, text/yaml, text/plain;q=0.9, */*;q=0.1" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(FETCH_MS)]),
    });
    body = response.ok ? await readText(response, MAX_DOCUMENT_BYTES) : { text: "", isCut: false };
  } catch (error) {
    throw refused(`cannot be fetched: ${networkError(error)?.message ?? "it did not come in time"}.`, error);
  }
  const { status } = response;
  if (status >= 300 && status < 400)
    throw refused("answers with a redirect, which is not followed. Give the final URL.");
  if (!response.ok) throw refused(`answers ${status}. Check the URL; it is fetched without credentials.`);
  if (body.isCut) throw refused(`is larger than ${MAX_DOCUMENT_BYTES / 1_000_000} MB. Give a part of it.`);
  return body.text;
}

function parsed(text: string): unknown {
  const clean = text.replace(/^\uFEFF/, "");
  if (/^\s*\{/.test(clean)) {
    try {
      return JSON.parse(clean) as unknown;
    } catch {
      // YAML may begin with a brace too.
    }
  }
  if (clean.length > MAX_YAML_LENGTH) {
    throw refused(`is not valid JSON, and too large for YAML (${MAX_YAML_LENGTH / 1_000_000} million characters).`);
  }
  try {
    // Aliases become the same object twice: small in memory, and whoever walks through it counts its steps.
    return parseYaml(clean, { maxDepth: 100 });
  } catch (error) {
    const why = error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
    throw refused(`can be read neither as JSON nor as YAML: ${why.slice(0, 300)}`, error);
  }
}

function refused(why: string, cause?: unknown): ProblemError {
  return new ProblemError("invalid_request", `The document ${why}`, cause === undefined ? {} : { cause });
}
