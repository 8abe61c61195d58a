import { say } from "@agent-engine/testing/model-directive.ts";
import type { ModelServer } from "@agent-engine/testing/model-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { send as request } from "../http.ts";
import { spread, type Spread } from "../statistics.ts";
import type { Stack } from "../stack.ts";
import { openVisitor } from "../visitor.ts";

export interface Cancel {
  /** From sending the cancel to the last of: the model is hung up on, the reader has the end, no token after it. */
  silence: Spread;
  /** From breaking off a direct call to the model's noticing. */
  direct: Spread;
  problems: string[];
}

const question = say("Count.", { gapMs: 20, steps: [{ kind: "stamps", count: 5_000 }] });

/** Runs stopped in the middle of their answer, each beside a direct call that is broken off. */
export async function measureCancel(stack: Stack, model: ModelServer, rounds: number): Promise<Cancel> {
  const visitor = await openVisitor(stack.endpoint);
  const silence: number[] = [];
  const direct: number[] = [];
  const problems: string[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      direct.push(await breakOffDirectly(model));
      let pieces = 0;
      let lastPieceMs = 0;
      let endedMs = 0;
      const conversation = await visitor.newConversation(({ event }) => {
        if (event.type === "RUN_FINISHED") endedMs = performance.now();
        else if (event.type === "TEXT_MESSAGE_CONTENT") {
          pieces++;
          lastPieceMs = performance.now();
        }
      });
      const { run } = await visitor.send(conversation, `${round} ${question}`);
      await waitFor(() => pieces > 5, { describe: "part of the answer", timeoutMs: 30_000 });
      const upstream = model.requests.at(-1);
      if (!upstream) throw new Error("the model was not asked");
      const sentMs = performance.now();
      const hungUp = upstream.ended.then(() => performance.now());
      await visitor.cancel(run.id);
      await waitFor(() => endedMs > 0, { describe: "the end of the run", timeoutMs: 30_000 });
      const hungUpMs = await hungUp;
      if (lastPieceMs > endedMs) problems.push(`run ${run.id}: a token after its end`);
      silence.push(Math.max(hungUpMs, endedMs) - sentMs);
    }
  } finally {
    visitor.close();
  }
  return { silence: spread(silence), direct: spread(direct), problems };
}

async function breakOffDirectly(model: ModelServer): Promise<number> {
  const response = await request(`${model.url}/chat/completions`, {
    model: "fake-model",
    stream: true,
    messages: [{ role: "user", content: question }],
  });
  await new Promise((resolve) => response.once("data", resolve));
  const upstream = model.requests.at(-1);
  const sentMs = performance.now();
  response.destroy();
  await upstream?.ended;
  return performance.now() - sentMs;
}
