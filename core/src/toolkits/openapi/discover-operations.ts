import { setImmediate } from "node:timers/promises";
import { ProblemError } from "../../errors.ts";
import { toolName } from "../tool-name.ts";
import { baseUrlOf, operationsOf, unreadablePaths, type OpenapiOperation } from "./openapi-parts.ts";
import type { OpenapiSettings } from "./openapi-settings.ts";
import { operationTool, type OpenapiTool } from "./operation-tool.ts";
import type { OpenapiDocument } from "./read-document.ts";

/** A model that is offered more chooses badly, and reads all of them before every answer. */
const MAX_UNCHOSEN = 100;
const MAX_PROBLEMS = 200;

/**
 * The chosen operations as tools. Lets others work in between: a large document takes seconds.
 * @throws ProblemError `invalid_request` when nothing can be called
 */
export async function discoverOperations(
  name: string,
  settings: OpenapiSettings,
  document: OpenapiDocument,
  signal: AbortSignal,
): Promise<{ tools: OpenapiTool[]; problems: string[] }> {
  const fromDocument = settings.baseUrl === undefined ? baseUrlOf(document) : null;
  if (settings.baseUrl === undefined && fromDocument === null) {
    throw new ProblemError(
      "invalid_request",
      "The document names no server that can be called. Give `settings.baseUrl`.",
    );
  }
  const problems = unreadablePaths(document);
  const tools: OpenapiTool[] = [];
  const names = new Set<string>();
  /** By what they say: many operations share parameters. */
  const notes = new Map<string, string[]>();
  for (const operation of chosen(operationsOf(document), settings.operations, problems)) {
    signal.throwIfAborted();
    if (tools.length % 10 === 9) await setImmediate();
    const { auth, idempotencyHeader } = settings;
    const made = operationTool(document, operation, {
      name: uniqueName(name, operation, names),
      baseUrl: fromDocument,
      auth,
      idempotencyHeader,
    });
    if ("problem" in made) {
      problems.push(`${operation.key} was left out: ${made.problem}.`);
      continue;
    }
    names.add(made.tool.name);
    tools.push(made.tool);
    for (const note of made.notes) notes.set(note, [...(notes.get(note) ?? []), operation.key]);
  }
  problems.push(...[...notes].map(([note, keys]) => `${shortList(keys)}: ${note}`));
  const more = problems.length - MAX_PROBLEMS;
  return {
    tools,
    problems: more > 0 ? [...problems.slice(0, MAX_PROBLEMS), `There are ${more} more notes.`] : problems,
  };
}

function shortList(keys: readonly string[]): string {
  return keys.length <= 3 ? keys.join(", ") : `${keys.slice(0, 2).join(", ")} and ${keys.length - 2} more`;
}

function chosen(
  all: OpenapiOperation[],
  wanted: readonly string[] | undefined,
  problems: string[],
): OpenapiOperation[] {
  if (wanted === undefined) {
    if (all.length > MAX_UNCHOSEN) {
      problems.push(
        `The document has ${all.length} operations; these are the first ${MAX_UNCHOSEN}. Name the ones that are needed in \`operations\`.`,
      );
    }
    return all.slice(0, MAX_UNCHOSEN);
  }
  const keys = new Map(all.flatMap((operation) => [[operation.key, operation] as const]));
  for (const operation of all) if (operation.id !== null && !keys.has(operation.id)) keys.set(operation.id, operation);
  const found = new Set<OpenapiOperation>();
  for (const key of wanted) {
    const operation = keys.get(key) ?? keys.get(key.replace(/^\w+/, (method) => method.toUpperCase()));
    if (operation) found.add(operation);
    else problems.push(`There is no operation "${key}" in the document.`);
  }
  return [...found];
}

/** By the operation's id; two that are the same to a model are numbered. */
function uniqueName(namespace: string, { id, method, path }: OpenapiOperation, taken: ReadonlySet<string>): string {
  const wanted = id ?? `${method.toLowerCase()}_${path.replace(/[^a-zA-Z0-9]+/g, "_").replace(/^_+|_+$/g, "")}`;
  let name = toolName(namespace, wanted);
  for (let number = 2; taken.has(name); number++) name = toolName(namespace, `${wanted}_${number}`);
  return name;
}
