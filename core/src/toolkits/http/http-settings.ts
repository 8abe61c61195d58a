/** Settings of an HTTP toolkit, as an agent's `toolkits[].settings` hold them. */
import { z } from "zod";
import { settingsProblems } from "../settings-problems.ts";
import type { ToolEffect } from "../toolkit.ts";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] as const;
export type HttpMethod = (typeof METHODS)[number];

const identifier = z.string().regex(/^[a-zA-Z][a-zA-Z0-9_-]{0,40}$/, "must be a letter, then letters, digits, _ or -");
export const headerName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, "must be a header's name");
export const headerValue = z
  .string()
  .max(8_000)
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, "must be one line of plain text");

const parameters = z
  .record(z.string(), z.unknown())
  .refine((schema) => schema.type === "object", "must be a JSON Schema with type: object")
  .refine((schema) => JSON.stringify(schema).length <= 50_000, "must be at most 50 kB");

const operation = z
  .strictObject({
    name: identifier,
    /** Tells the model when and how to use it. */
    description: z.string().min(1).max(2_000),
    method: z.enum(METHODS),
    /** Below the base URL; `{name}` stands for an argument. The others go into the query or, with a body, into JSON. */
    path: z.string().max(2_000).startsWith("/", "must begin with /"),
    parameters: parameters.default({ type: "object", properties: {} }),
    /** Default: by the method. */
    effect: z.enum(["read", "idempotent", "write"]).optional(),
    showArguments: z.boolean().default(false),
    showResults: z.boolean().default(false),
  })
  .superRefine(({ path, parameters: schema }, context) => {
    const properties = Object.keys((schema.properties as Record<string, unknown> | undefined) ?? {});
    for (const name of pathArguments(path)) {
      if (properties.includes(name)) continue;
      context.addIssue({
        code: "custom",
        path: ["path"],
        message: `uses {${name}}, which is not among the parameters`,
      });
    }
  });

export function isPlainAddress(address: string): boolean {
  const { username, password, search, hash } = new URL(address);
  return `${username}${password}${search}${hash}` === "";
}

const httpSettings = z
  .strictObject({
    /** Namespace of its tools' names. */
    name: identifier,
    baseUrl: z
      .url({ protocol: /^https?$/, error: "must be an http or https URL", abort: true })
      .max(2_000)
      // It is stored and shown as it is, and requests to such an address are refused.
      .refine(isPlainAddress, "must be without user, password, query and fragment; put credentials into headers"),
    operations: z.array(operation).min(1, "must have at least one operation").max(100),
    headers: z.record(headerName, headerValue).default({}),
    /** The header that carries the idempotency key of a call that changes something. */
    idempotencyHeader: headerName.default("Idempotency-Key"),
    timeoutMs: z.int().min(100).max(60_000).default(30_000),
    /** Most of an answer that is read, in bytes. */
    maxResponseBytes: z.int().min(1_000).max(1_000_000).default(100_000),
  })
  .superRefine(({ operations }, context) => {
    const seen = new Set<string>();
    for (const [index, { name }] of operations.entries()) {
      if (seen.has(name)) {
        context.addIssue({ code: "custom", path: ["operations", index, "name"], message: `"${name}" is there twice` });
      }
      seen.add(name);
    }
  });

export type HttpSettings = z.output<typeof httpSettings>;
export type HttpOperation = HttpSettings["operations"][number];

/** The settings, or what is wrong with them: one line for each problem, with its place. */
export function parseHttpSettings(
  value: unknown,
): { settings: HttpSettings; problems: null } | { settings: null; problems: string[] } {
  const parsed = httpSettings.safeParse(value);
  if (parsed.success) return { settings: parsed.data, problems: null };
  return { settings: null, problems: settingsProblems(parsed.error) };
}

/** The names in a path's `{…}`, in order. */
export function pathArguments(path: string): string[] {
  return [...path.matchAll(/\{([^{}]+)\}/g)].map(([, name = ""]) => name);
}

const effects: Record<HttpMethod, ToolEffect> = {
  GET: "read",
  HEAD: "read",
  PUT: "idempotent",
  DELETE: "idempotent",
  POST: "write",
  PATCH: "write",
};

/** What HTTP promises of the method, unless the operation says otherwise. */
export function operationEffect(operation: Pick<HttpOperation, "method" | "effect">): ToolEffect {
  return operation.effect ?? effects[operation.method];
}
