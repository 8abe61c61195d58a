import type { Config } from "@agent-engine/core/config/env.ts";
import type { ControlMessage, PublishedBatch } from "@agent-engine/core/events/bus.ts";
import type { Doorbell } from "@agent-engine/core/queue/run-queue.ts";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { ModelProvider } from "../engine/model-provider.ts";
import type { RetryPolicy } from "../engine/retry-policy.ts";

/** What a quarantine process needs to execute runs. Of the outside it reaches Postgres, models and tools, nothing else. */
export interface QuarantineSettings {
  databaseUrl: string;
  secretKeys: readonly string[];
  models: Config["models"];
  nodeEnv: Config["nodeEnv"];
  composio?: Config["composio"];
  logLevel: string;
  stuckSeconds: number;
  retryPolicy: RetryPolicy;
  stall: ModelProvider["stall"] | null;
}

export type ToQuarantine =
  | { kind: "start"; settings: QuarantineSettings }
  | { kind: "doorbell"; doorbell: Doorbell }
  | { kind: "control"; message: ControlMessage }
  | { kind: "stop" };

export type FromQuarantine =
  | { kind: "ready"; workerUuid: string }
  /** The doorbell is answered and its run, if there was one, out of this process's hands. */
  | { kind: "settled"; doorbell: Doorbell }
  | { kind: "publish"; batch: PublishedBatch }
  | { kind: "control"; message: ControlMessage }
  | { kind: "ring"; queueClass: QueueClass; doorbell: Doorbell };
