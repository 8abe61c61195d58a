/** Tools that are plain HTTP operations of one service. One execution is one request: nothing is retried here. */
import { operationEffect, type HttpOperation, type HttpSettings } from "./http-settings.ts";
import { isSecretHeader } from "../secret-settings.ts";
import { toolName } from "../tool-name.ts";
import type { ToolAnswer, ToolDescription, Toolkit, ToolRequest } from "../toolkit.ts";
import { createRedactor, type Redactor } from "../../secrets/without-secrets.ts";
import type { Egress } from "../../net/egress.ts";
import { answerOf, sendHttp } from "./http-call.ts";
import { classifyHttpFailure } from "./http-failure.ts";
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
  const { timeoutMs, maxResponseBytes } = settings;
  const options = { egress, redactor, isRead, signal: request.signal, timeoutMs, maxResponseBytes };
  return answerOf(await sendHttp(prepared, options), redactor);
}
