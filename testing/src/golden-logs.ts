/**
 * Golden logs: conversations as an engine once wrote them, with the state that they folded to. They stand for what
 * customers' databases hold, so they are added and never edited: a reducer that reads one of them otherwise is wrong.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { forAudience, type Audience, type StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";

export interface GoldenLog {
  name: string;
  /** What happens in it. */
  about: string;
  events: StoredEnvelope[];
  /** What it folded to when it was recorded, for each audience. */
  states: Record<Audience, ConversationState>;
}

const FOLDER = join(import.meta.dirname, "../../protocol/src/golden");
const pathOf = (name: string) => join(FOLDER, `${name}.json`);

/** All of them, by name. */
export function readGoldenLogs(): GoldenLog[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".json"))
    .toSorted()
    .map((file) => ({ name: basename(file, ".json"), ...JSON.parse(readFileSync(join(FOLDER, file), "utf8")) }));
}

/** Writes a new one. Throws when there is one of this name. */
export function writeGoldenLog(name: string, about: string, log: readonly StoredEnvelope[]): void {
  if (existsSync(pathOf(name))) throw new Error(`The golden log ${name} exists: golden logs are never edited.`);
  const states = { all: foldFor(log, "all"), staff: foldFor(log, "staff") };
  const lines = log.map((envelope) => `    ${JSON.stringify(envelope)}`).join(",\n");
  const json = `{
  "about": ${JSON.stringify(about)},
  "events": [
${lines}
  ],
  "states": ${JSON.stringify(states, null, 2).replaceAll("\n", "\n  ")}
}
`;
  writeFileSync(pathOf(name), json);
}

export function foldFor(log: readonly StoredEnvelope[], reader: Audience): ConversationState {
  return reduce(
    initialState,
    log.map((envelope) => forAudience(envelope, reader)),
  );
}

const UUID_ID = /\b(msg|call|run|int|conv|doc|agent|visitor|site|tenant|key)_([0-9a-f]{32})\b/g;
const HASH = /\b[0-9a-f]{64}\b/g;
const TIME = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;
const LOCAL_PORT = /127\.0\.0\.1:\d+/g;

/** The same log with ids, times, hashes and ports that do not depend on when and where it was written. */
export function normalizedLog(
  log: readonly StoredEnvelope[],
  replacements: Record<string, string> = {},
): StoredEnvelope[] {
  const ids = numbered();
  const hashes = numbered();
  return log.map((envelope) => {
    const at = new Date(Date.UTC(2026, 0, 1) + envelope.seq * 1_000).toISOString();
    let text = JSON.stringify({ ...envelope, correlationId: "golden" });
    text = text.replaceAll(UUID_ID, (id, kind: string) => `${kind}_${String(ids(id)).padStart(32, "0")}`);
    text = text.replaceAll(HASH, (hash) => String(hashes(hash)).padStart(64, "0"));
    text = text.replaceAll(TIME, at).replaceAll(LOCAL_PORT, "127.0.0.1:0");
    for (const [found, put] of Object.entries(replacements)) text = text.replaceAll(found, put);
    return JSON.parse(text) as StoredEnvelope;
  });
}

function numbered(): (key: string) => number {
  const known = new Map<string, number>();
  return (key) => {
    known.set(key, known.get(key) ?? known.size + 1);
    return known.get(key) ?? 0;
  };
}
