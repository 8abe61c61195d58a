import { askModel } from "../direct-call.ts";
import { spread, type Spread } from "../statistics.ts";
import type { Stack } from "../stack.ts";
import { openVisitor, type Answer } from "../visitor.ts";

export interface Latency {
  direct: { firstToken: Spread; completion: Spread };
  product: { firstToken: Spread; completion: Spread };
}

/**
 * One run after the other, each next to a direct call, so that both see the same machine: which of the two goes first
 * alternates. Every run has a conversation of its own, made and subscribed to before the clock starts.
 */
export async function measureLatency(stack: Stack, runs: number): Promise<Latency> {
  const visitor = await openVisitor(stack.endpoint);
  const direct: Answer[] = [];
  const product: Answer[] = [];
  try {
    for (let run = 0; run < runs; run++) {
      const conversation = await visitor.newConversation();
      const question = `Question ${run}`;
      if (run % 2 === 0) direct.push(await askModel(stack.modelUrl, question));
      const answer = await visitor.ask(conversation, question);
      if (run % 2 === 1) direct.push(await askModel(stack.modelUrl, question));
      product.push(answer);
      if (answer.text !== direct.at(-1)?.text) throw new Error("the answer is not what the model said");
    }
  } finally {
    visitor.close();
  }
  return { direct: spreads(direct), product: spreads(product) };
}

function spreads(answers: readonly Answer[]): { firstToken: Spread; completion: Spread } {
  return {
    firstToken: spread(answers.map((answer) => answer.firstTokenMs)),
    completion: spread(answers.map((answer) => answer.completionMs)),
  };
}
