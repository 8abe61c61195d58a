/** Tools that are plain HTTP operations of one service. One execution is one request: nothing is retried here. */
import { operationEffect, type HttpOperation, type HttpSettings } from "./http-settings.ts";
import { isSecretHeader } from "../secret-settings.ts";
import { toolName } from "../tool-name.ts";
import type { ToolAnswer, ToolDescription, Toolkit, ToolRequest } from "../toolkit.ts";
import { createRedactor, type Redactor } from "../../secrets/without-secrets.ts";
import type { Egress } from "../../net/egress.ts";
import { classifyHttpFailure, HttpUnsettled, isUnsettled } from "./http-failure.ts";
import { BadPathArgument, httpRequest, type HttpRequest } from "./http-request.ts";

export function httpToolkit(settings: HttpSettings, egress: Egress, now: () => number = Date.now): Toolkit {
  const operations = new Map(
    settings.operations.map((operation) => [toolName(settings.name, operation.name), operation]),
  );
  const secret = Object.entries(settings.headers).flatMap(([name, value]) => (isSecretHeader(name) ? [value] : []));
  const redactor = createRedactor(secret);
  const descriptions = [...operations].map(([name, operation]) => describe(name, operation));
  return {
    name: settings.name,
    host: new URL(settings.baseUrl).host,
    list: () => Promise.resolve(descriptions),
    describe: (name) => Promise.resolve(descriptions.find((description) => description.name === name) ?? null),
    execute(name, request) {
      const operation = operations.get(name);
      if (!operation) return Promise.resolve({ content: { error: "There is no such operation." }, isError: true });
      return execute(settings, operation, request, egress, redactor);
    },
    classifyFailure(error) {
      const failure = classifyHttpFailure(error, now());
      return { ...failure, detail: redactor.whole(failure.detail) };
    },
  };
}

function describe(name: string, operation: HttpOperation): ToolDescription {
  return {
    name,
    description: operation.description,
    parameters: operation.parameters,
    effect: operationEffect(operation),
    scopes: [],
    connection: "none",
    visibility: { arguments: operation.showArguments, results: operation.showResults },
  };
}

async function execute(
  settings: HttpSettings,
  operation: HttpOperation,
  request: ToolRequest,
  egress: Egress,
  redactor: Redactor,
): Promise<ToolAnswer> {
  const isRead = operationEffect(operation) === "read";
  let prepared: HttpRequest;
  try {
    prepared = httpRequest(settings, operation, request.arguments, isRead ? null : request.idempotencyKey);
  } catch (error) {
    if (error instanceof BadPathArgument) return { content: { error: error.message }, isError: true };
    throw error;
  }
  const signal = AbortSignal.any([request.signal, AbortSignal.timeout(settings.timeoutMs)]);
  const { url, method, headers, body } = prepared;
  const response = await (isRead ? egress.fetch : egress.fetchOnce)(url, { method, headers, body, signal });
  const { text: said, isCut } = await readText(response, settings.maxResponseBytes);
  const text = isCut ? `${redactor.cut(said)} … [cut]` : redactor.whole(said);
  const { status } = response;
  if (isUnsettled(status)) throw new HttpUnsettled(status, Object.fromEntries(response.headers), text);
  if (status >= 300 && status < 400) {
    return {
      content: { status, error: "The service answered with a redirect, which is not followed." },
      isError: true,
    };
  }
  const content = contentOf(text, response.headers.get("content-type"), redactor);
  if (status >= 400) return { content: { status, error: content }, isError: true };
  return { content: text === "" ? { status } : content };
}

/** At most so many bytes; the rest is not even read. */
async function readText(response: Response, maxBytes: number): Promise<{ text: string; isCut: boolean }> {
  if (!response.body) return { text: "", isCut: false };
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    const left = maxBytes - bytes;
    if (chunk.byteLength >= left) {
      return { text: text + decoder.decode(chunk.subarray(0, left), { stream: true }), isCut: true };
    }
    bytes += chunk.byteLength;
    text += decoder.decode(chunk, { stream: true });
  }
  return { text: text + decoder.decode(), isCut: false };
}

/** JSON may spell a secret in ways of its own, so it is looked at once more as JSON is written here. */
function contentOf(text: string, contentType: string | null, redactor: Redactor): unknown {
  if (contentType === null || !/\bjson\b/i.test(contentType)) return text;
  try {
    return JSON.parse(redactor.whole(JSON.stringify(JSON.parse(text)))) as unknown;
  } catch {
    return text;
  }
}
