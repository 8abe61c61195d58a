import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "@agent-engine/testing/processes.ts";

/** Commands of a document, and what the document says they print. */
export interface Example {
  /** The heading it stands under. */
  heading: string;
  command: string;
  /** With `…` for anything; empty where nothing is shown. */
  output: string;
}

export function readDocument(path: string): string {
  return readFileSync(join(REPOSITORY, path), "utf8");
}

const HEADING_OR_EXAMPLE =
  /^#+ (?<heading>[^\n]*)$|^```sh\n(?<command>.*?)^```$(?:\n\n```text\n(?<output>.*?)^```$)?/gms;

/** The `sh` blocks of a document in order, each with the `text` block that follows it directly, if one does. */
export function examplesOf(document: string): Example[] {
  const examples: Example[] = [];
  let heading = "";
  for (const { groups } of document.matchAll(HEADING_OR_EXAMPLE)) {
    if (groups?.heading) heading = groups.heading;
    if (groups?.command) examples.push({ heading, command: groups.command, output: groups.output?.trim() ?? "" });
  }
  return examples;
}

/** The `json` blocks of a document. */
export function jsonOf(document: string): unknown[] {
  return [...document.matchAll(/^```json\n(.*?)^```$/gms)].map(([, json = ""]) => JSON.parse(json) as unknown);
}

/**
 * Where a printed text departs from the documented one, in which `…` stands for anything, also for nothing and for many
 * lines: the first part of the documented text that is not there; null when it is all there, in order and nothing else.
 */
export function departure(documented: string, printed: string): string | null {
  const parts = documented.split("…");
  let at = 0;
  for (const [index, part] of parts.entries()) {
    const isLast = index === parts.length - 1;
    const found = isLast && index > 0 ? printed.length - part.length : printed.indexOf(part, at);
    if (found < at || (index === 0 && found !== 0) || !printed.startsWith(part, found)) return part;
    at = found + part.length;
  }
  return at === printed.length ? null : "the end";
}
