import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { redactNames } from "../redact.ts";

export type Fields = Record<string, unknown>;

/** Longer values are named by their hash: the log says that they changed, not every word of a long text twice. */
const MAX_VALUE_LENGTH = 8_000;

/**
 * What differs between two states of a resource, field by field, without secrets. Compared before it is redacted: that
 * a secret was changed is worth an entry. Of something new or gone, everything.
 */
export function changed(
  before: Readonly<Fields> | null,
  after: Readonly<Fields> | null,
): { before: Fields | null; after: Fields | null } {
  if (before === null || after === null) return { before: fit(before), after: fit(after) };
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (name) => !isDeepStrictEqual(before[name], after[name]),
  );
  const only = (fields: Readonly<Fields>) =>
    fit(Object.fromEntries(names.filter((name) => name in fields).map((name) => [name, fields[name]])));
  return { before: only(before), after: only(after) };
}

function fit(fields: Readonly<Fields> | null): Fields | null {
  if (fields === null) return null;
  const redacted = redactNames(fields) as Fields;
  return Object.fromEntries(Object.entries(redacted).map(([name, value]) => [name, short(value)]));
}

function short(value: unknown): unknown {
  const text = JSON.stringify(value) ?? "null";
  if (text.length <= MAX_VALUE_LENGTH) return value;
  return { omitted: `${text.length} characters`, sha256: createHash("sha256").update(text).digest("hex") };
}
