import type { LanguageModelV4CallOptions } from "@ai-sdk/provider";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { Circuit } from "./circuit.ts";
import type { PartStream } from "./part-stream.ts";

/** A model as the engine sees it. One `stream` is one attempt: providers never retry. */
export interface ModelProvider {
  /** Of the vendor, for instance `openai`; `extractive` for the one that is no language model. */
  readonly provider: string;
  readonly modelId: string;
  /**
   * Longest silence: until the model says something or asks for a tool, every part of its thoughts counting as life,
   * and between two parts from then on.
   */
  readonly stall: { firstPartMs: number; gapMs: number };
  stream(options: LanguageModelV4CallOptions): PromiseLike<PartStream>;
  /** Shared by the tenant's runs; none for a model that runs in this process. */
  readonly circuit?: Circuit;
  /** Never throws. */
  classifyFailure(error: unknown): Failure;
}

/** Made by the engine when a model stays silent for longer than its `stall` allows. */
export class ModelStalled extends Error {
  constructor(silentMs: number) {
    super(`The model sent nothing for ${Math.round(silentMs / 1000)} s`);
    this.name = "ModelStalled";
  }
}

/** A stream that ended without saying why: the connection was cut (`cause`) or the server gave up. */
export class ModelStreamCut extends Error {
  constructor(cause?: unknown) {
    super("The model's stream ended without a finish reason", { cause });
    this.name = "ModelStreamCut";
  }
}
