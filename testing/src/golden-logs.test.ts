import { describe, expect, test } from "vitest";
import { deliver } from "@agent-engine/protocol/deliver.ts";
import { forAudience, type Audience } from "@agent-engine/protocol/envelope.ts";
import { mergeAdjacent } from "@agent-engine/protocol/merge.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import { verifyAgUi } from "./ag-ui.ts";
import { foldFor, normalizedLog, readGoldenLogs, writeGoldenLog } from "./golden-logs.ts";

const logs = readGoldenLogs();
const audiences: Audience[] = ["all", "staff"];

test("there are golden logs of every kind of run", () => {
  const kinds = logs.flatMap(({ states }) => Object.values(states.staff.runs).map(({ status }) => status));
  expect(new Set(kinds)).toEqual(new Set(["completed", "failed", "cancelled"]));
  const facts = logs.flatMap(({ events }) =>
    events.map(({ event }) => (event.type === "CUSTOM" ? event.name : event.type)),
  );
  for (const fact of ["citation", "run.retrying", "run.superseded", "run.resumed", "run.forked", "TOOL_CALL_RESULT"]) {
    expect(facts).toContain(fact);
  }
});

describe.each(logs)("the golden log $name", ({ name, events, states }) => {
  test.each(audiences)("folds to the state that it had when it was written, for %s", (reader) => {
    expect(foldFor(events, reader)).toEqual(states[reader]);
  });

  test.each(audiences)("folds to it in whatever pieces it is delivered, for %s", (reader) => {
    const seen = mergeAdjacent(events).map((envelope) => forAudience(envelope, reader));
    expect(reduce(initialState, seen)).toEqual(states[reader]);
    let { state } = deliver(initialState, seen.slice(0, 3));
    for (const envelope of seen) ({ state } = deliver(state, [envelope, ...seen.slice(0, 5)]));
    expect(state).toEqual(states[reader]);
  });

  test("is a log: its seqs are whole, and its runs are AG-UI's", async () => {
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    for (const run of new Set(events.map(({ runId }) => runId))) {
      for (const reader of audiences) {
        const own = events.filter(({ runId }) => runId === run && run !== null);
        await verifyAgUi(own.map((envelope) => forAudience(envelope, reader).event));
      }
    }
  });

  test("is written once", () => {
    expect(() => writeGoldenLog(name, "another", [])).toThrow("never edited");
    expect(normalizedLog(events)).toEqual(events);
  });
});
