import type { Experiment } from "./experiment.ts";
import { cutSocket } from "./experiments/cut-socket.ts";
import { deliveredManyTimes } from "./experiments/delivered-many-times.ts";
import { faultyProvider } from "./experiments/faulty-provider.ts";
import { frozen } from "./experiments/frozen.ts";
import { killedMidToken } from "./experiments/killed-mid-token.ts";
import { killedMidTool } from "./experiments/killed-mid-tool.ts";
import { mangledDeliveries } from "./experiments/mangled-deliveries.ts";
import { poison } from "./experiments/poison.ts";
import { postgresCrash } from "./experiments/postgres-crash.ts";
import { publisherKilled } from "./experiments/publisher-killed.ts";
import { redisOutage } from "./experiments/redis-outage.ts";
import { relayKilled } from "./experiments/relay-killed.ts";
import { rollingRestart } from "./experiments/rolling-restart.ts";
import { saturation } from "./experiments/saturation.ts";
import { slowReader } from "./experiments/slow-reader.ts";
import { submittedAtOnce } from "./experiments/submitted-at-once.ts";

/** All of them, by number. */
export const EXPERIMENTS: readonly Experiment[] = [
  killedMidToken,
  killedMidTool,
  deliveredManyTimes,
  frozen,
  redisOutage,
  postgresCrash,
  cutSocket,
  slowReader,
  poison,
  faultyProvider,
  submittedAtOnce,
  mangledDeliveries,
  saturation,
  relayKilled,
  publisherKilled,
  rollingRestart,
];
