/** 12: deliveries that are shuffled, duplicated, merged and dropped, each case another log: the property of delivery. */
import { assertDelivery } from "@agent-engine/protocol/delivery-property.ts";
import type { Experiment } from "../experiment.ts";

const MANGLED = "deliveries mangled";
/** Between two portions the others of this process have their turn. */
const PORTION = 50;

export const mangledDeliveries: Experiment = {
  id: "12",
  title: "socket events shuffled, duplicated, dropped",
  target: "100,000 cases end in the fold of the log",
  rounds: { quick: 300, full: 100_000 },
  faults: [MANGLED],
  disturbs: "nobody",
  async run(_world, trial) {
    for (let done = 0; done < trial.rounds; done += PORTION) {
      const cases = Math.min(PORTION, trial.rounds - done);
      const seed = trial.random.between(0, 2 ** 31 - 1);
      await trial.operation(`${cases} cases from seed ${seed}`, async () => assertDelivery(cases, seed));
      trial.fired(MANGLED, cases);
      await new Promise((resolve) => setImmediate(resolve));
    }
  },
};
