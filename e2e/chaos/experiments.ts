import type { Experiment } from "./experiment.ts";
import { deliveredManyTimes } from "./experiments/delivered-many-times.ts";
import { killedMidToken } from "./experiments/killed-mid-token.ts";

/** All of them, by number. */
export const EXPERIMENTS: readonly Experiment[] = [killedMidToken, deliveredManyTimes];
