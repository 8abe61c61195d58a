/** What real runs write is what AG-UI's own clients accept, for visitors and for staff. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { forAudience } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { modelFaults } from "@agent-engine/testing/model-faults.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startMortalWorker, type Death } from "./mortal-worker-fixture.ts";
import { calls, says, shopToolkit, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;
/** Its runs are executed by workers of the test's own. */
let unattended: Product;

beforeAll(async () => {
  [product, unattended] = await Promise.all([startProduct(), startProduct({ withoutWorker: true })]);
});
afterAll(() => Promise.all([product.stop(), unattended.stop()]));

/** The run's events after the visitor's message, as names; deltas that follow one another count once. */
async function written(chat: Chat, runId: string): Promise<string[]> {
  const own = (await chat.log()).filter((envelope) => envelope.runId === runId);
  for (const reader of ["all", "staff"] as const) {
    await verifyAgUi(own.map((envelope) => forAudience(envelope, reader).event));
  }
  const names = own.slice(3).map(({ event }) => nameOf(event));
  return names.filter((name, index) => name !== names[index - 1]);
}

function nameOf(event: ConversationEvent): string {
  if (event.type === "CUSTOM") return event.name;
  return event.type === "RUN_FINISHED" ? event.outcome.type : event.type;
}

const tokens = (count: number, gapMs = 0) => ({ gapMs, steps: [{ kind: "tokens" as const, count }] });
const START = ["RUN_STARTED", "STEP_STARTED"];
const TEXT = ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"];
const CALL = ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"];
const ANSWER = ["STEP_STARTED", ...TEXT, "STEP_FINISHED", "success"];

test("plain", async () => {
  const chat = await product.chat();
  const { id } = await chat.answered("Hello");
  expect(await written(chat, id)).toEqual([...START, ...TEXT, "STEP_FINISHED", "success"]);
});

test("with tools", async () => {
  const chat = await product.chat();
  const turn = { steps: [says("I will. "), calls("look", "a"), calls("send", "b")] };
  const { id } = await chat.answered(say("Do it", turn, { steps: [says("Done.")] }));
  expect(await written(chat, id)).toEqual([
    ...[...START, ...TEXT, "TOOL_CALL_START", "TOOL_CALL_ARGS", ...CALL],
    ...["TOOL_CALL_RESULT", "STEP_FINISHED", ...ANSWER],
  ]);
});

test("cancelled mid-token", async () => {
  const chat = await product.chat();
  const { id } = await chat.ask(say("Talk", tokens(1_000, 5)));
  await waitFor(async () => (await chat.texts())[0]?.includes("token3 "), { describe: "some words" });
  await chat.cancel(id);
  expect(await written(chat, id)).toEqual([...START, ...TEXT, "STEP_FINISHED", "cancelled"]);
});

test("cancelled while queued", async () => {
  const chat = await unattended.chat();
  const { id } = await chat.ask("Hello");
  await chat.cancel(id);
  expect(await written(chat, id)).toEqual(["RUN_STARTED", "cancelled"]);
});

test("interrupted and resumed", async () => {
  const chat = await product.chat({ toolkits: [shopToolkit(product.tools.url, { tools: { send: "approve" } })] });
  const waiting = await chat.answered(say("May it", { steps: [calls("send", "a")] }, { steps: [says("Done.")] }));
  await chat.decide(waiting, "approve");
  expect(await written(chat, waiting.id)).toEqual([
    ...[...START, ...CALL, "STEP_FINISHED", "interrupt"],
    ...["run.resumed", ...START, "TOOL_CALL_RESULT", "STEP_FINISHED", ...ANSWER],
  ]);
});

test("interrupted and aborted", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults({ kind: "cut", when: "after" });
  const waiting = await chat.answered(say("Send it", { steps: [calls("send", "a")] }));
  await chat.decide(waiting, "abort");
  expect(await written(chat, waiting.id)).toEqual([
    ...[...START, ...CALL, "STEP_FINISHED", "interrupt"],
    ...["run.resumed", "RUN_ERROR"],
  ]);
});

test("retried", async () => {
  const chat = await product.chat();
  const { id } = await chat.answered(say("Answer", [modelFaults.cutMidStream, { steps: [says("Whole.")] }]));
  expect(await written(chat, id)).toEqual([
    ...[...START, "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "run.retrying", "TEXT_MESSAGE_END", "STEP_FINISHED"],
    ...["run.superseded", ...ANSWER],
  ]);
});

test("taken over", async () => {
  const chat = await unattended.chat();
  const { id } = await chat.ask(
    say("Set it", { steps: [says("Now. "), calls("set", "a")] }, { steps: [says("Set.")] }),
  );
  const deaths: Death[] = [
    { at: "invocation_finish", when: "before" },
    { at: "end_run", when: "before" },
  ];
  for (const death of deaths) await (await startMortalWorker(unattended, id, death))?.ended;
  await (
    await startMortalWorker(unattended, id)
  )?.ended;
  const names = await written(chat, id);
  expect(names.filter((name) => name === "RUN_STARTED" || name === "success")).toEqual(["RUN_STARTED", "success"]);
  expect(names.filter((name) => name === "run.retrying")).toHaveLength(2);
  expect(await chat.texts()).toEqual(["Now. ", "Set."]);
});

test("failed", async () => {
  const chat = await product.chat();
  const { id } = await chat.answered(say("Answer", modelFaults.badKey));
  expect(await written(chat, id)).toEqual([...START, "STEP_FINISHED", "RUN_ERROR"]);
});

test("with reasoning, which only staff may read", async () => {
  const chat = await product.chat();
  const delta = { choices: [{ index: 0, delta: { reasoning_content: "Let me think." } }] };
  const think = { kind: "raw" as const, text: `data: ${JSON.stringify(delta)}\n\n` };
  const { id } = await chat.answered(say("Think", { steps: [think, says("So.")] }));
  expect(await written(chat, id)).toEqual([
    ...[...START, "REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT"],
    ...["REASONING_MESSAGE_END", "REASONING_END", ...TEXT, "STEP_FINISHED", "success"],
  ]);
  const seen = (await chat.log()).map((envelope) => JSON.stringify(forAudience(envelope, "all"))).slice(3);
  expect(seen.join()).not.toContain("Let me think");
});
