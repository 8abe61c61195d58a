import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import type { BoundTool } from "./bound-tool.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { cutText } from "./tool-outcome.ts";

/** Milliseconds between two that are shown: the log is no progress bar. */
const EVERY_MS = 1_000;
const MAX_LENGTH = 300;

export interface Progress {
  say(text: string): void;
  /** The attempt is over: what it still says is about nothing. */
  end(): void;
}

/** Shows how far an attempt is, to whoever may see what comes out of it. */
export function progressOf(run: EngineRun, { description }: BoundTool, { toolCallId }: ToolInvocation): Progress {
  const audience = description.visibility.results ? "all" : "staff";
  let lastAt: number | null = null;
  let isOver = false;
  return {
    say(text) {
      const now = run.effects.now();
      if (isOver || run.input.signal.aborted || (lastAt !== null && now - lastAt < EVERY_MS)) return;
      lastAt = now;
      run.effects.emit(custom("tool.progress", { toolCallId, text: cleanText(cutText(text, MAX_LENGTH)) }), audience);
    },
    end() {
      isOver = true;
    },
  };
}
