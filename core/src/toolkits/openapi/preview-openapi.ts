import { setImmediate } from "node:timers/promises";
import type { Ctx } from "../../context.ts";
import type { ToolEffect } from "../toolkit.ts";
import type { KindDeps } from "../toolkit-kind.ts";
import { operationEffect } from "../http/http-settings.ts";
import { baseUrlOf, operationsOf } from "./openapi-parts.ts";
import type { OpenapiDocumentSource } from "./openapi-settings.ts";
import { operationTool } from "./operation-tool.ts";
import { readDocument } from "./read-document.ts";
import { suggestedAuth, type SuggestedAuth } from "./suggested-auth.ts";

const MAX_OPERATIONS = 2_000;
const PREVIEW_MS = 15_000;

export interface OpenapiPreview {
  title: string;
  /** Null: the document names no server that can be called. */
  baseUrl: string | null;
  auth: SuggestedAuth;
  operations: {
    /** What `settings.operations` names it by. */
    id: string;
    method: string;
    path: string;
    summary: string;
    effect: ToolEffect;
    /** Why it cannot be a tool. */
    problem?: string;
  }[];
}

/**
 * What a document would bring, without installing it.
 * @throws ProblemError `invalid_request` for a document that cannot be had or read
 */
export async function previewOpenapi(
  _ctx: Ctx,
  { egress }: Pick<KindDeps, "egress">,
  input: { document: OpenapiDocumentSource },
): Promise<OpenapiPreview> {
  const document = await readDocument(input.document, egress, AbortSignal.timeout(PREVIEW_MS));
  const baseUrl = baseUrlOf(document);
  const auth = suggestedAuth(document);
  const options = { name: "preview", baseUrl, auth: { type: "none" }, idempotencyHeader: "Idempotency-Key" } as const;
  const all = operationsOf(document);
  const ids = new Set<string>();
  const operations: OpenapiPreview["operations"] = [];
  for (const operation of all.slice(0, MAX_OPERATIONS)) {
    // Others are served in between.
    if (operations.length % 25 === 24) await setImmediate();
    const { method, path, key, id } = operation;
    const made = operationTool(document, operation, { ...options, isPreview: true });
    const { summary, description } = operation.operation;
    const text = [summary, description].find((one) => typeof one === "string" && one.trim() !== "");
    operations.push({
      id: id === null || ids.has(id) ? key : id,
      method,
      path,
      summary: typeof text === "string" ? text.trim().slice(0, 200).toWellFormed() : "",
      effect: operationEffect({ method }),
      ...("problem" in made ? { problem: made.problem } : {}),
    });
    if (id !== null) ids.add(id);
  }
  const { info } = document.root;
  const title = typeof info === "object" && info !== null && "title" in info ? info.title : "";
  return { title: typeof title === "string" ? title.slice(0, 200).toWellFormed() : "", baseUrl, auth, operations };
}
