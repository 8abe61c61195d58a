/** Every route of the OpenAPI document with its parameters and schemas: for tests that visit them all. */
import { call, type ServerFixture } from "./server-fixture.ts";

/** As much of JSON Schema as the document uses. */
export interface JsonSchema {
  type?: string | string[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  items?: JsonSchema;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  $ref?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  format?: string;
}

export interface Operation {
  /** `GET /v1/runs/{runId}` */
  name: string;
  method: string;
  path: string;
  /** Names of the path's parameters. */
  params: string[];
  query: string[];
  body: JsonSchema | null;
  permission: string | null;
  isForVisitors: boolean;
  isStream: boolean;
}

interface Described {
  "x-permission"?: string;
  security?: Record<string, []>[];
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, { schema: JsonSchema }> };
  responses: Record<string, { content?: Record<string, unknown> }>;
}

export interface OpenApi {
  paths: Record<string, Record<string, Described>>;
  components?: { schemas?: Record<string, JsonSchema> };
}

export async function operationsOf(fixture: ServerFixture): Promise<Operation[]> {
  const { body } = await call<OpenApi>(fixture, "GET", "/openapi.json");
  const schemas = body.components?.schemas ?? {};
  return Object.entries(body.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]): Operation => {
      const schema = described.requestBody?.content["application/json"]?.schema;
      return {
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        params: [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name),
        query: (described.parameters ?? []).filter((each) => each.in === "query").map(({ name }) => name),
        body: schema ? resolved(schema, schemas) : null,
        permission: described["x-permission"] ?? null,
        isForVisitors: (described.security ?? []).some((each) => "visitorToken" in each),
        isStream: described.responses["200"]?.content?.["text/event-stream"] !== undefined,
      };
    }),
  );
}

/** A path with its parameters filled in. */
export function pathOf({ path }: Pick<Operation, "path">, params: Record<string, string>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? "missing"));
}

/** Dotted paths of every field of a schema: `changes.model.name`. */
export function fieldsOf(schema: JsonSchema, prefix = ""): string[] {
  const parts = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  return [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, each]) => [
      `${prefix}${name}`,
      ...fieldsOf(each, `${prefix}${name}.`),
    ]),
    ...(schema.items ? fieldsOf(schema.items, prefix) : []),
    ...parts.flatMap((each) => fieldsOf(each, prefix)),
  ];
}

function resolved(schema: JsonSchema, schemas: Record<string, JsonSchema>): JsonSchema {
  const name = schema.$ref?.split("/").at(-1);
  const { $ref: _, ...rest } = name === undefined ? schema : (schemas[name] ?? {});
  const all = (list: JsonSchema[]) => list.map((each) => resolved(each, schemas));
  const fields = Object.entries(rest.properties ?? {}).map(([key, each]) => [key, resolved(each, schemas)] as const);
  return {
    ...rest,
    ...(rest.properties ? { properties: Object.fromEntries(fields) } : {}),
    ...(rest.items ? { items: resolved(rest.items, schemas) } : {}),
    ...(rest.anyOf ? { anyOf: all(rest.anyOf) } : {}),
    ...(rest.oneOf ? { oneOf: all(rest.oneOf) } : {}),
    ...(rest.allOf ? { allOf: all(rest.allOf) } : {}),
  };
}
