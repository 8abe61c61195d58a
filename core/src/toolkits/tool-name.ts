import { createHash } from "node:crypto";

/** The narrowest rule among the model vendors: starts with a letter, then letters, digits, `_` and `-`, 64 in all. */
export const TOOL_NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/;
const MAX_LENGTH = 64;

/**
 * The name a model calls a tool by: `<namespace>_<tool>`, valid for every provider. A name too long is cut and ends in
 * a hash of the whole, so that it stays distinct and the same on every run.
 */
export function toolName(namespace: string, tool: string): string {
  const clean = (text: string) => text.replace(/[^a-zA-Z0-9_-]+/g, "_");
  const joined = `${clean(namespace)}_${clean(tool)}`;
  const name = /^[a-zA-Z]/.test(joined) ? joined : `t${joined}`;
  if (name.length <= MAX_LENGTH) return name;
  const hash = createHash("sha256").update(`${namespace} ${tool}`).digest("hex").slice(0, 8);
  return `${name.slice(0, MAX_LENGTH - 9)}_${hash}`;
}
