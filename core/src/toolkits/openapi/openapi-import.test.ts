/** Documents as others publish them, and as nobody should. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeServer, listen } from "@agent-engine/testing/listening.ts";
import { createEgress } from "../../net/egress.ts";
import { ProblemError } from "../../errors.ts";
import { argumentCheck } from "../argument-check.ts";
import { TOOL_NAME } from "../tool-name.ts";
import { discoverOperations } from "./discover-operations.ts";
import { operationsOf } from "./openapi-parts.ts";
import { openapiKind } from "./openapi-kind.ts";
import { parseOpenapiSettings, type OpenapiDocumentSource } from "./openapi-settings.ts";
import { previewOpenapi } from "./preview-openapi.ts";
import { readDocument } from "./read-document.ts";
import type { Ctx } from "../../context.ts";

const egress = createEgress({ allowLoopback: true });
const log = { warn: () => {}, error: () => {}, info: () => {} };
const deps = { egress, composio: null, now: Date.now, log };
const never = new AbortController().signal;
const { resolve } = createRequire(import.meta.url);
const published = (path: string) => readFileSync(resolve(path), "utf8");
const ctx = {} as Ctx;

let server: Server;
let url: string;
let answers: Record<string, { status?: number; headers?: Record<string, string>; body: string }>;
beforeAll(async () => {
  answers = {};
  server = createServer((incoming, response) => {
    const { status = 200, headers = {}, body } = answers[incoming.url ?? ""] ?? { status: 404, body: "" };
    response.writeHead(status, headers).end(body);
  });
  url = `http://127.0.0.1:${await listen(server, 0)}`;
});
afterAll(async () => {
  await egress.close();
  await closeServer(server);
});

function settingsOf(document: OpenapiDocumentSource, more: Record<string, unknown> = {}) {
  const parsed = parseOpenapiSettings({ document, baseUrl: "https://api.example/v1", ...more });
  if (!parsed.settings) throw new Error(parsed.problems.join("; "));
  return parsed.settings;
}

const discover = (document: OpenapiDocumentSource, more: Record<string, unknown> = {}) =>
  openapiKind.discover("api", settingsOf(document, more), deps, never);

async function refusal(document: OpenapiDocumentSource): Promise<string> {
  const error = await discover(document).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ProblemError);
  return (error as ProblemError).detail;
}

const found = { openapi: "3.1.0", info: { title: "T", version: "1" }, paths: {} };
const withPaths = (paths: unknown, more: Record<string, unknown> = {}) => ({ json: { ...found, paths, ...more } });

describe("published documents", () => {
  it.each([
    ["a petstore, 3.0 JSON", "@readme/oas-examples/3.0/json/petstore.json", 20, 20],
    ["a galaxy, 3.1 YAML", "@scalar/galaxy/latest.yaml", 10, 10],
    ["trains, 3.1 YAML", "@readme/oas-examples/3.1/yaml/train-travel.yaml", 7, 7],
    ["Figma, 3.1 YAML of 400 kB", "@figma/rest-api-spec/openapi/openapi.yaml", 54, 54],
    ["ReadMe, 3.1 JSON of 560 kB", "@readme/oas-examples/3.1/json/readme.json", 54, 54],
    ["Star Trek, 3.0 JSON of 500 kB", "@readme/oas-examples/3.0/json/star-trek.json", 120, 120],
    ["every style of parameters", "@readme/oas-examples/3.1/json/parameters-style.json", 25, 19],
    ["every kind of schema", "@readme/oas-examples/3.1/json/schema-types.json", 23, 23],
    ["references in circles", "@readme/oas-examples/3.0/json/circular.json", 1, 1],
  ])(
    "%s: each operation is a tool that every provider takes, or left out for a reason",
    async (_, path, count, kept) => {
      const document = await readDocument({ text: published(path) }, egress, never);
      const operations = operationsOf(document);
      expect(operations).toHaveLength(count);
      const settings = settingsOf({ json: {} }, { operations: operations.map(({ key }) => key) });
      const { tools, problems } = await discoverOperations("api", settings, document, never);
      expect(tools).toHaveLength(kept);
      expect(problems.filter((problem) => problem.includes(" was left out: ")).length).toBeGreaterThanOrEqual(
        count - kept,
      );
      for (const problem of problems) expect(problem).toMatch(/^.{20,}\.$/s);
      expect(new Set(tools.map(({ name }) => name)).size).toBe(kept);
      for (const { name, parameters, description } of tools) {
        expect(name).toMatch(TOOL_NAME);
        expect(description).not.toBe("");
        expect(parameters.type).toBe("object");
        expect(JSON.stringify(parameters)).not.toMatch(/"(\$ref|oneOf|allOf|nullable)":/);
        expect(argumentCheck(parameters)).toBeTypeOf("function");
      }
    },
  );

  it("can be looked at before: where it goes, what it needs, what it offers", async () => {
    const preview = await previewOpenapi(ctx, deps, {
      document: { text: published("@figma/rest-api-spec/openapi/openapi.yaml") },
    });
    expect(preview).toMatchObject({ title: "Figma API", baseUrl: "https://api.figma.com" });
    expect(preview.auth.type).not.toBe("none");
    expect(preview.operations).toHaveLength(54);
    expect(preview.operations[0]).toEqual({
      id: "getFile",
      method: "GET",
      path: "/v1/files/{file_key}",
      summary: "Get file JSON",
      effect: "read",
    });
    const styles = await previewOpenapi(ctx, deps, {
      document: { text: published("@readme/oas-examples/3.1/json/parameters-style.json") },
    });
    expect(styles.operations.filter(({ problem }) => problem !== undefined)).toHaveLength(6);
  });

  it.each([
    [{ type: "http", scheme: "Basic" }, { type: "basic" }],
    [
      { type: "apiKey", in: "query", name: "key" },
      { type: "apiKey", in: "query", name: "key" },
    ],
    [{ type: "oauth2", flows: { authorizationCode: {} } }, { type: "bearer" }],
    [{ type: "mutualTLS" }, { type: "none" }],
    [
      { type: "oauth2", flows: { clientCredentials: { tokenUrl: "https://id.example/t", scopes: { a: "", b: "" } } } },
      { type: "oauth2_client_credentials", tokenUrl: "https://id.example/t", scope: "a b" },
    ],
  ])("that ask for %j suggest %j", async (scheme, auth) => {
    const document = withPaths({}, { components: { securitySchemes: { s: scheme } }, security: [{}, { s: [] }] });
    expect((await previewOpenapi(ctx, deps, { document })).auth).toEqual(auth);
  });
});

describe("documents by URL", () => {
  it("are fetched, and give relative servers an address", async () => {
    answers["/docs/api.yaml"] = { body: "openapi: 3.1.0\nservers: [{url: /v2}]\npaths: {/a: {get: {operationId: a}}}" };
    const preview = await previewOpenapi(ctx, deps, { document: { url: `${url}/docs/api.yaml` } });
    expect(preview).toMatchObject({ baseUrl: `${url}/v2`, operations: [{ id: "a" }] });
  });

  it("that are not there, lead elsewhere or are too large are refused", async () => {
    expect(await refusal({ url: `${url}/nothing` })).toContain("404");
    answers["/moved"] = { status: 302, headers: { location: "http://169.254.169.254/" }, body: "" };
    expect(await refusal({ url: `${url}/moved` })).toContain("redirect");
    answers["/huge"] = { body: "x".repeat(15_000_001) };
    expect(await refusal({ url: `${url}/huge` })).toContain("15 MB");
  });

  it.each(["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/openapi.json", "http://[fd00::1]/"])(
    "at %s are not fetched",
    async (address) => {
      expect(await refusal({ url: address })).toContain("not allowed");
    },
  );
});

describe("documents that mean harm", () => {
  it.each([
    ["", "neither"],
    ["just words", "must be an object"],
    ["[1, 2]", "must be an object"],
    ["{", "neither"],
    ['{"swagger": "2.0", "paths": {}}', "Swagger 2.0"],
    ['{"openapi": "4.0.0", "paths": {}}', "OpenAPI 3"],
    ['{"openapi": "3.1.0"}', "paths"],
    [`a: ${"[".repeat(10_000)}`, "neither"],
    [`# ${"x".repeat(5_000_001)}`, "too large"],
  ])("%#: what is no document is refused with a reason", async (text, reason) => {
    const error = await readDocument({ text }, egress, never).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "invalid_request", detail: expect.stringContaining(reason) as string });
  });

  it("a billion laughs cost nothing", async () => {
    const names = "abcdefghij".split("");
    const lines = names.map((name, index) => {
      const inner =
        index === 0
          ? "{type: string}"
          : `{type: object, properties: {${names.map((key) => `${key}: *${names[index - 1] ?? ""}`).join(", ")}}}`;
      return `  ${name}: &${name} ${inner}`;
    });
    const text = `openapi: 3.1.0\nx-laughs:\n${lines.join("\n")}\npaths:\n  /a:\n    post:\n      operationId: a\n      requestBody: {required: true, content: {application/json: {schema: *j}}}\n`;
    const { tools } = await discover({ text });
    expect(JSON.stringify(tools).length).toBeLessThan(25_000);
  });

  it("a schema that contains itself by an alias is cut", async () => {
    const text =
      "openapi: 3.1.0\npaths: {/a: {post: {operationId: a, requestBody: {content: {application/json: {schema: &s {type: object, properties: {child: *s, name: {type: string}}}}}}}}}";
    const { tools } = await discover({ text });
    expect(JSON.stringify(tools).length).toBeLessThan(25_000);
  });

  it("references that lead in circles or out of the document are left out, and nothing is fetched", async () => {
    const out = { $ref: `${url}/parameters.json` };
    const round = { $ref: "#/components/parameters/round" };
    const document = withPaths(
      {
        "/item": { $ref: "file:///etc/passwd" },
        "/parameter": { get: { operationId: "a", parameters: [out] } },
        "/round": { get: { operationId: "b", parameters: [round] } },
        "/body": { post: { operationId: "c", requestBody: { $ref: "http://169.254.169.254/latest" } } },
        "/schema": { post: { operationId: "d", requestBody: { content: { "application/json": { schema: out } } } } },
      },
      { components: { parameters: { round } } },
    );
    const { tools, problems } = await discover(document);
    expect(tools.map(({ remote }) => remote)).toEqual(["POST /schema"]);
    expect(problems).toHaveLength(5);
  });

  it.each([
    "/../admin",
    "/a/%2e%2E/b",
    "/a?x={id}",
    "/a#b",
    "/a\\..\\b",
    "/a%2fb",
    "//evil.example/../..",
    "/./a",
    "/{missing}",
  ])("an operation at %s is left out", async (path) => {
    const { tools, problems } = await discover(withPaths({ [path]: { get: { operationId: "a" } } }));
    expect(tools).toEqual([]);
    expect(problems).toEqual([expect.stringContaining("was left out")]);
  });

  it("a path that looks like another host stays at the service", async () => {
    const document = withPaths({ "//evil.example/x": { get: { operationId: "a" } } });
    const { tools } = await discover(document, { baseUrl: url });
    const toolkit = openapiKind.open("api", settingsOf(document, { baseUrl: url }), tools, deps);
    const context = {
      tenantId: "t",
      agentId: "a",
      conversationId: "c",
      runId: "r",
      visitorId: null,
      correlationId: "x",
    };
    const request = { idempotencyKey: "k", arguments: {}, connection: null, signal: never, deadline: 0, context };
    answers["//evil.example/x"] = { body: "here" };
    expect(await toolkit.execute("api_a", request)).toEqual({ content: "here" });
  });

  it("an operation with a server of its own is left out, so that credentials go nowhere else", async () => {
    const elsewhere = [{ url: "https://evil.example" }];
    const { tools } = await discover(
      withPaths({
        "/a": { servers: elsewhere, get: { operationId: "a" } },
        "/b": { get: { operationId: "b", servers: elsewhere } },
      }),
    );
    expect(tools).toEqual([]);
  });

  it("whatever is in the place of its parts, it is read or refused", async () => {
    const odd = [null, 7, "x", [], {}, [null], { a: null }];
    const paths = Object.fromEntries(
      odd.flatMap((value, index) => [
        [`/item${index}`, value],
        [`/operation${index}`, { post: value, parameters: value }],
        [
          `/parts${index}`,
          { post: { parameters: value, requestBody: value, summary: value, operationId: value, servers: value } },
        ],
        [`/body${index}`, { post: { requestBody: { content: value, required: value } } }],
        [`/media${index}`, { post: { requestBody: { content: { "application/json": value } } } }],
        [
          `/parameter${index}`,
          { get: { parameters: [{ name: "a", in: "query", schema: value, style: value, content: value }] } },
        ],
      ]),
    );
    for (const more of odd.map((value) => ({ servers: value, components: value, security: value, info: value }))) {
      const { tools } = await discover(withPaths(paths, more));
      expect(tools.length).toBeGreaterThan(10);
      await previewOpenapi(ctx, deps, { document: withPaths(paths, more) });
    }
  });
});
