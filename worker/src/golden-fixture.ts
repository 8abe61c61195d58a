/** What is played to record golden logs: see `golden-logs.integration.test.ts`. */
import { createDocument } from "@agent-engine/core/knowledge/create-document.ts";
import { forkRun } from "@agent-engine/core/runs/fork-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startMortalWorker, type Death } from "./mortal-worker-fixture.ts";
import { calls, says, shopToolkit, type Chat, type Product } from "./product-fixture.ts";

export interface Scenario {
  name: string;
  about: string;
  /** Answers the conversation whose log is meant; the chat's own by default. */
  play(product: Product, chat: Chat): Promise<string | void>;
}

/** Gives the run to worker after worker; each dies as it is told, the last one lives. */
async function live(product: Product, runId: string, ...deaths: Death[]): Promise<void> {
  for (const death of deaths) await (await startMortalWorker(product, runId, death))?.ended;
  await (
    await startMortalWorker(product, runId)
  )?.ended;
}

async function answered(product: Product, chat: Chat, text: string): Promise<string> {
  const run = await chat.ask(text);
  await live(product, run.id);
  return run.id;
}

/** Waits until the assistant has said so much. */
const heard = (chat: Chat, text: string) =>
  waitFor(async () => (await chat.texts()).includes(text), { describe: `the assistant to say ${text}` });

const halfASentence = say("Tell me a story", { steps: [says("Once upon "), { kind: "hold" }, says("a time.")] });

function release({ models }: Product): void {
  for (const request of models.requests) request.release();
}

export const scenarios: Scenario[] = [
  {
    name: "simple-answer",
    about: "Two questions, each with its answer.",
    async play(product, chat) {
      await answered(product, chat, say("Hello", { steps: [says("Good day to you.")] }));
      await answered(product, chat, say("And you are?", { steps: [says("An assistant.")] }));
    },
  },
  {
    name: "cited-answer",
    about: "A tool call whose sources the answer cites.",
    async play(product) {
      const chat = await product.chat({ knowledge: { enabled: true, maxResults: 5 } });
      const text = "Gift wrapping costs 40 kr an order. Choose it at checkout.";
      await createDocument(chat.staff, { title: "Gift wrapping", url: "https://shop.example/gifts", text });
      const call = { kind: "toolCall" as const, name: "knowledge_search", arguments: { query: "gift wrapping" } };
      await answered(
        product,
        chat,
        say("What does wrapping cost?", { steps: [says("Let me see. "), call] }, { steps: [says("40 kr [1].")] }),
      );
      return chat.conversationId;
    },
  },
  {
    name: "approval",
    about: "Two calls that wait for an approval: one is approved, the other is declined.",
    async play(product) {
      const chat = await product.chat({ toolkits: [shopToolkit(product.tools.url, { defaultPolicy: "approve" })] });
      const question = say(
        "Send both",
        { steps: [says("Gladly. "), calls("send", "one"), calls("send", "two")] },
        { steps: [says("One went, two did not.")] },
      );
      const runId = await answered(product, chat, question);
      for (const decision of ["approve", "decline"] as const) {
        await chat.resume(
          await chat.settled(runId),
          decision,
          decision === "decline" ? { reason: "too many" } : undefined,
        );
        await live(product, runId);
      }
      return chat.conversationId;
    },
  },
  {
    name: "retry",
    about: "A model that breaks off: what it had said is superseded and said again.",
    async play(product, chat) {
      const broken = { steps: [says("It is "), { kind: "wait" as const, ms: 50 }, { kind: "cut" as const }] };
      await answered(product, chat, say("What time is it?", [broken, { steps: [says("It is noon.")] }]));
    },
  },
  {
    name: "take-over",
    about:
      "A worker that dies in the middle of a sentence, and one that dies once its turn is recorded; the third one answers.",
    async play(product, chat) {
      const whole = { steps: [says("One moment. "), calls("set", "it")] };
      const broken = { steps: [says("One "), { kind: "hold" as const }, says("moment. "), calls("set", "it")] };
      const run = await chat.ask(say("Set it", [broken, whole], { steps: [says("It is set.")] }));
      const worker = await startMortalWorker(product, run.id);
      await heard(chat, "One ");
      worker?.kill();
      await worker?.ended;
      release(product);
      await live(product, run.id, { at: "tool_step_insert", when: "after" });
    },
  },
  {
    name: "cancel",
    about: "A visitor stops an answer in the middle of a sentence, and asks something else.",
    async play(product, chat) {
      const run = await chat.ask(halfASentence);
      const worker = await startMortalWorker(product, run.id);
      await heard(chat, "Once upon ");
      await chat.cancel(run.id);
      release(product);
      await worker?.ended;
      await answered(product, chat, say("Something short", { steps: [says("Yes.")] }));
    },
  },
  {
    name: "operator",
    about: "A model that does not answer until an operator lets it try again.",
    async play(product, chat) {
      const down = { steps: [{ kind: "status" as const, status: 500 }] };
      const question = say("Are you there?", [down, down, down, { steps: [says("I am now.")] }]);
      const runId = await answered(product, chat, question);
      await chat.resume(await chat.settled(runId), "retry");
      await live(product, runId);
    },
  },
  {
    name: "queued",
    about: "A second message while the first is being answered.",
    async play(product, chat) {
      const first = await chat.ask(halfASentence);
      const worker = await startMortalWorker(product, first.id);
      await heard(chat, "Once upon ");
      const second = await chat.ask(say("And then?", { steps: [says("They lived.")] }));
      release(product);
      await worker?.ended;
      await live(product, second.id);
    },
  },
  {
    name: "failure",
    about: "A model that refuses its key.",
    async play(product, chat) {
      await answered(product, chat, say("Hello", { steps: [{ kind: "status", status: 401 }] }));
    },
  },
  {
    name: "fork",
    about: "A fork amid a step's calls, with one result given and one reused.",
    async play(product, chat) {
      const question = say(
        "Look and set",
        { steps: [says("At once. "), calls("look", "here"), calls("set", "it")] },
        { steps: [says("Both done.")] },
      );
      const runId = await answered(product, chat, question);
      const log = await chat.log();
      const [look] = (await chat.state("staff")).toolCalls;
      const asked = log.filter(({ event }) => event.type === "TOOL_CALL_END").at(-1);
      const forked = await forkRun(chat.staff, {
        runId,
        atSeq: asked?.seq ?? 0,
        changes: { toolResults: { [look?.id ?? ""]: "nothing" }, reuseToolResults: true, allowSideEffects: false },
      });
      await live(product, forked.run.id);
      return forked.run.conversationId;
    },
  },
];
