import type { Experiment } from "./experiment.ts";
import { deliveredManyTimes } from "./experiments/delivered-many-times.ts";
import { frozen } from "./experiments/frozen.ts";
import { killedMidToken } from "./experiments/killed-mid-token.ts";
import { killedMidTool } from "./experiments/killed-mid-tool.ts";
import { mangledDeliveries } from "./experiments/mangled-deliveries.ts";
import { submittedAtOnce } from "./experiments/submitted-at-once.ts";

/** All of them, by number. */
export const EXPERIMENTS: readonly Experiment[] = [
  killedMidToken,
  killedMidTool,
  deliveredManyTimes,
  frozen,
  submittedAtOnce,
  mangledDeliveries,
];
