/**
 * What a step of ten independent calls takes beside a step of one, through the whole product: one after the other the
 * ten would take ten times as long. The tool's server runs in this process, which therefore knows every call.
 */
import type { Services } from "@agent-engine/core/context.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { createTestTenant, TEST_ORIGIN } from "@agent-engine/testing/tenants.ts";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import type { Stack } from "./stack.ts";
import { spread, type Spread } from "./statistics.ts";
import { openVisitor } from "./visitor.ts";

export interface ParallelCalls {
  /** From sending the message to the end of its run, in milliseconds, by the calls of its only tool step. */
  ten: Spread;
  one: Spread;
  /** Calls of a step of ten that the tool's server had before it answered any of them. */
  atOnce: Spread;
  problems: string[];
}

/** How long the tool takes for each call. */
export const CALL_MS = 300;
const WARM_UP = 3;

export async function measureParallelCalls(stack: Stack, services: Services, runs: number): Promise<ParallelCalls> {
  let unanswered = 0;
  let most = 0;
  const server = await startToolServer({
    fault: () => {
      most = Math.max(most, ++unanswered);
      return { kind: "slow", delayMs: CALL_MS };
    },
    answer: () => {
      unanswered--;
      return { ok: true };
    },
  });
  try {
    const { publishableKey } = await createTestTenant(services, {
      knowledge: { enabled: false, maxResults: 5 },
      toolkits: [lookup(server)],
    });
    const samples = { ten: [] as number[], one: [] as number[], atOnce: [] as number[] };
    const problems: string[] = [];
    const measure = async (calls: 1 | 10, round: number): Promise<void> => {
      most = 0;
      const values = Array.from({ length: calls }, (_, index) => `${round}-of-${calls}-call-${index}`);
      // One for each run: a socket follows a hundred conversations at most.
      const visitor = await openVisitor({ ...stack.endpoint, publishableKey, origin: TEST_ORIGIN });
      const asked = visitor.newConversation().then((conversation) => visitor.ask(conversation, question(values)));
      const { completionMs, text } = await asked.finally(() => visitor.close());
      const made = server.ledger.splice(0).map(({ path }) => path);
      const wanted = values.map((value) => `/look?value=${value}`);
      if (made.toSorted().join() !== wanted.toSorted().join()) problems.push(`of ${calls} calls: ${made.join()}`);
      if (text !== ANSWER) problems.push(`the answer after ${calls} calls was "${text}"`);
      if (round < 0) return;
      samples[calls === 1 ? "one" : "ten"].push(completionMs);
      if (calls === 10) samples.atOnce.push(most);
    };
    for (let round = -WARM_UP; round < runs; round++) {
      // Which of the two goes first alternates, so that both see the same machine.
      for (const calls of round % 2 === 0 ? ([1, 10] as const) : ([10, 1] as const)) await measure(calls, round);
    }
    const { ten, one, atOnce } = samples;
    return { ten: spread(ten), one: spread(one), atOnce: spread(atOnce), problems };
  } finally {
    await server.stop();
  }
}

function lookup({ url }: ToolServer) {
  const value = { type: "object", properties: { value: { type: "string" } }, required: ["value"] };
  const look = { name: "look", description: "Looks something up", method: "GET", path: "/look", parameters: value };
  return {
    toolkit: "http",
    tools: {},
    defaultPolicy: "auto" as const,
    settings: { name: "shop", baseUrl: url, operations: [look] },
  };
}

const ANSWER = "Done.";

function question(values: readonly string[]): string {
  const calls = values.map((value) => ({ kind: "toolCall" as const, name: "shop_look", arguments: { value } }));
  return say("Look.", { steps: calls }, { steps: [{ kind: "text", text: ANSWER }] });
}
