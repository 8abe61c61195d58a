import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { JsonSchema } from "../toolkit.ts";

export const MAX_FIELDS = 12;
export const MAX_OPTIONS = 20;
export const FIELD_TYPES = ["text", "email", "number", "choice", "date", "long_text"] as const;
type FieldType = (typeof FIELD_TYPES)[number];

export interface FormField {
  /** Of the answer; no two fields have the same. */
  name: string;
  label: string;
  type: FieldType;
  required: boolean;
  /** Of a choice: two at least, no two the same. */
  options?: string[];
}

export interface Form {
  title: string;
  description: string | null;
  fields: FormField[];
}

const MAX_TITLE = 200;
const MAX_DESCRIPTION = 1_000;
const MAX_LABEL = 200;
const MAX_NAME = 40;
const MAX_TEXT = 1_000;
const MAX_LONG_TEXT = 10_000;

/** What a model sends. What no schema that all models accept can say is mended by `formOf`. */
export const formParameters: JsonSchema = {
  type: "object",
  properties: {
    title: {
      type: "string",
      minLength: 1,
      maxLength: MAX_TITLE,
      description: "What the form is about, in a few words.",
    },
    description: { type: "string", maxLength: MAX_DESCRIPTION, description: "Why you ask, for the visitor." },
    fields: {
      type: "array",
      minItems: 1,
      maxItems: MAX_FIELDS,
      items: {
        type: "object",
        properties: {
          name: {
            type: "string",
            pattern: `^[A-Za-z][A-Za-z0-9_]{0,${MAX_NAME - 1}}$`,
            description: "A short name by which you get the answer.",
          },
          label: { type: "string", minLength: 1, maxLength: MAX_LABEL, description: "What the visitor reads." },
          type: { type: "string", enum: [...FIELD_TYPES] },
          required: { type: "boolean" },
          options: {
            type: "array",
            maxItems: MAX_OPTIONS,
            items: { type: "string", minLength: 1, maxLength: MAX_LABEL },
            description: "For the type choice only: what there is to choose from.",
          },
        },
        required: ["name", "label", "type"],
        additionalProperties: false,
      },
    },
  },
  required: ["title", "fields"],
  additionalProperties: false,
};

/**
 * The form that valid arguments ask for. Names that are there twice get a number, and a choice without a choice is asked
 * as text: a visitor is better served by a form than the model by an error.
 */
export function formOf(args: Readonly<Record<string, unknown>>): Form {
  const { title, description, fields } = args as { title: string; description?: string; fields: Partial<FormField>[] };
  const taken = new Set<string>();
  return {
    title: shown(title) || "A few questions",
    description: shown(description ?? "") || null,
    fields: fields.map(({ name = "field", label = "", type = "text", required = false, options = [] }) => {
      const field = { name: freeName(name, taken), label: shown(label) || name, required };
      if (type !== "choice") return { ...field, type };
      const choices = [...new Set(options.map(shown))].filter((option) => option !== "");
      return choices.length < 2 ? { ...field, type: "text" } : { ...field, type, options: choices };
    }),
  };
}

function shown(text: string): string {
  return cleanText(text).trim();
}

/** Names that every object has would count as filled in. */
function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let n = 2; taken.has(free) || free in Object.prototype; n++) free = `${name.slice(0, MAX_NAME - 3)}_${n}`;
  taken.add(free);
  return free;
}

/** JSON Schema of what the visitor sends: by name, and nothing for a field that they left empty. */
export function answerSchema({ fields }: Form): JsonSchema {
  return {
    type: "object",
    properties: Object.fromEntries(fields.map((field) => [field.name, valueSchema(field)])),
    required: fields.filter(({ required }) => required).map(({ name }) => name),
    additionalProperties: false,
  };
}

function valueSchema({ type, options }: FormField): JsonSchema {
  switch (type) {
    case "text":
      return { type: "string", minLength: 1, maxLength: MAX_TEXT };
    case "long_text":
      return { type: "string", minLength: 1, maxLength: MAX_LONG_TEXT };
    case "email":
      return { type: "string", maxLength: MAX_TEXT, pattern: "^[^\\s@]+@[^\\s@]+$" };
    case "number":
      return { type: "number" };
    case "date":
      return { type: "string", pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" };
    case "choice":
      return { type: "string", enum: options ?? [] };
  }
}
