import { expect, test } from "vitest";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Doorbell } from "@agent-engine/core/queue/run-queue.ts";
import { createUnanswered } from "./unanswered.ts";

const doorbells: Doorbell[] = ["a", "b"].map((name) => ({ runId: `run_${name}`, handOver: 1, correlationId: name }));

test("doorbells that could not be answered go back, each once, when Postgres answers again", async () => {
  let isAway = true;
  let tries = 0;
  const back: Doorbell[] = [];
  const unanswered = createUnanswered(
    {
      putBack: async (doorbell) => {
        tries++;
        if (isAway) throw new Error("connection refused");
        back.push(doorbell);
      },
    },
    1,
  );
  for (const doorbell of doorbells) unanswered.add(doorbell);
  await waitFor(() => tries > 2, { describe: "several tries" });
  expect(back).toEqual([]);
  isAway = false;
  await waitFor(() => back.length === 2, { describe: "both to be back" });
  const before = tries;
  unanswered.add({ runId: "run_c", handOver: 1, correlationId: "c" });
  await waitFor(() => back.length === 3, { describe: "a later one to be back" });
  expect(tries).toBe(before + 1);
  expect(back.slice(0, 2)).toEqual(doorbells);
  unanswered.stop();
});
