import { expect, it } from "vitest";
import { play, verifyRun, type FakeTool } from "./engine-harness.ts";

const scripts = [[{ call: "t", arguments: {} }], [{ say: "Done." }]];

/** Says something every 300 ms, ten times, and once more when nobody listens any longer. */
const chatty: FakeTool["call"] = async ({ onProgress }, clock) => {
  for (let part = 1; part <= 10; part++) {
    onProgress?.(`Part ${part}\u0000`);
    await clock.sleep(300, new AbortController().signal);
  }
  void clock.after(100, () => onProgress?.("late"));
  return { content: "ok" };
};

it.each([
  [true, "all"],
  [false, "staff"],
] as const)(
  "how far a call is, is shown once a second to whoever may see its result (%s)",
  async (visible, audience) => {
    const run = await play({ scripts, tools: [{ name: "t", visible, call: chatty }] });
    const said = run.events.flatMap((event, index) =>
      event.type === "CUSTOM" && event.name === "tool.progress" ? [[event.value.text, run.audiences[index]]] : [],
    );
    expect(said).toEqual([
      ["Part 1\ufffd", audience],
      ["Part 5\ufffd", audience],
      ["Part 9\ufffd", audience],
    ]);
    expect(run.state.toolCalls[0]).toMatchObject({ progress: "Part 9\ufffd", status: "done" });
    await verifyRun(run);
  },
);
