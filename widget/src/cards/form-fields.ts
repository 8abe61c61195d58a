/** The fields of a form, and what is sent of what was typed. */

export interface FormField {
  name: string;
  label: string;
  type: "text" | "email" | "number" | "choice" | "date" | "long_text";
  required?: boolean;
  options?: string[];
}

/** By field: numbers as numbers, and nothing where nothing was typed. */
export function formContent(fields: readonly FormField[], draft: Record<string, string>): Record<string, unknown> {
  const entries = fields.flatMap(({ name, type }): [string, unknown][] => {
    const text = (draft[name] ?? "").trim();
    if (text === "") return [];
    return [[name, type === "number" ? Number(text) : text]];
  });
  return Object.fromEntries(entries);
}
