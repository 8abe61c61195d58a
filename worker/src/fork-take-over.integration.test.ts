import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { forkRun } from "@agent-engine/core/runs/fork-run.ts";
import type { ForkChanges } from "@agent-engine/core/runs/fork-settings.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { resumeRun } from "@agent-engine/core/runs/resume-run.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { textOf } from "@agent-engine/testing/chat-request.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startMortalWorker, type Death } from "./mortal-worker-fixture.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

/** Gives the run to worker after worker until it is settled; each dies as it is told, the last one lives. */
async function live(chat: Chat, runId: string, ...deaths: Death[]): Promise<Run> {
  for (const death of deaths) {
    const worker = await startMortalWorker(product, runId, death);
    expect(await worker?.ended, `dies ${death.when} ${death.at}`).toBe("died");
  }
  await (
    await startMortalWorker(product, runId)
  )?.ended;
  return getRun(chat.staff, runId);
}

const callsWith = (value: string) => product.tools.ledger.filter((call) => JSON.stringify(call).includes(value));

let questions = 0;

async function original(chat: Chat): Promise<{ run: Run; tag: string; firstCall: string; atSeq: number }> {
  const tag = `died-${++questions}`;
  const text = say(
    `Question ${tag}`,
    { steps: [says("First. "), calls("send", `${tag} a`), calls("set", `${tag} b`)] },
    { steps: [says("Second. "), calls("send", `${tag} c`)] },
    { steps: [says("Done.")] },
  );
  const run = await live(chat, (await chat.ask(text)).id);
  expect(run.status).toBe("completed");
  expect(callsWith(tag)).toHaveLength(3);
  const log = await chat.log();
  const asked = log.filter(({ event }) => event.type === "TOOL_CALL_END").at(1);
  return { run, tag, firstCall: (await chat.state("staff")).toolCalls[0]?.id ?? "", atSeq: asked?.seq ?? 0 };
}

async function begin(chat: Chat, runId: string, changes: Partial<ForkChanges>, atSeq?: number): Promise<string> {
  const forked = await forkRun(chat.staff, {
    runId,
    ...(atSeq === undefined ? {} : { atSeq }),
    changes: { reuseToolResults: true, allowSideEffects: false, ...changes },
  });
  return forked.run.id;
}

const death = (at: string, when: Death["when"], survives = 0): Death => ({ at, when, survives });

test.each<[string, Death[]]>([
  ["before a turn is recorded", [death("tool_step_insert", "before")]],
  ["once a turn is recorded", [death("tool_step_insert", "after")]],
  ["before a reused result is recorded", [death("invocation_finish", "before")]],
  ["once a reused result is recorded", [death("invocation_finish", "after")]],
  ["between the results of one step", [death("invocation_finish", "before", 1)]],
  ["before its end", [death("end_run", "before")]],
  ["twice", [death("tool_step_insert", "after"), death("invocation_finish", "after")]],
])("a fork whose worker dies %s calls nothing twice", async (_, deaths) => {
  const chat = await product.chat();
  const { run, tag, firstCall } = await original(chat);
  const forkId = await begin(chat, run.id, { instructions: "Be brief.", toolResults: { [firstCall]: "given" } });
  const forked = await live(chat, forkId, ...deaths);
  expect(forked).toMatchObject({ status: "completed", interrupts: [] });
  expect(callsWith(tag)).toHaveLength(3);
  const { rows } = await product.db.query<{ reused_from: string; content: string }>(
    `select reused_from, outcome->>'content' as content from tool_invocations where run_id = $1 order by step_index, call_index`,
    [uuidOf(forkId)],
  );
  const recorded = (await chat.invocations(run.id)).map(({ key }) => key);
  expect(rows.map(({ reused_from }) => reused_from)).toEqual(recorded);
  expect(rows[0]?.content).toBe("given");
  // Its changes came with it, from worker to worker.
  const asked = product.models.requests.at(-1)?.body.messages ?? [];
  expect(textOf(asked[0] ?? { role: "system" })).toContain("Be brief.");
  expect(asked.filter(({ role }) => role === "tool").map(textOf)[0]).toBe("given");
});

test.each<[string, Death[]]>([
  ["before it has settled a call", [death("invocation_finish", "before")]],
  ["between two calls", [death("invocation_finish", "after")]],
])("a fork amid a step's calls whose worker dies %s finishes the step", async (_, deaths) => {
  const chat = await product.chat();
  const { run, tag, atSeq } = await original(chat);
  const before = product.models.requests.length;
  const forked = await live(chat, await begin(chat, run.id, {}, atSeq), ...deaths);
  expect(forked.status).toBe("completed");
  expect(product.models.requests.slice(before).map(({ turn }) => turn)).toEqual([1, 2]);
  expect(callsWith(tag)).toHaveLength(3);
});

test("a fork that waited for an approval goes on with its changes", async () => {
  const chat = await product.chat();
  const { run, tag } = await original(chat);
  const message = say(`Other ${tag}`, { steps: [calls("send", `${tag} other`)] }, { steps: [says("Done.")] });
  const forkId = await begin(chat, run.id, { message, model: { provider: "auto", name: "another", settings: {} } });
  const waiting = await live(chat, forkId);
  expect(waiting).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
  expect(callsWith(`${tag} other`)).toHaveLength(0);
  const interruptId = waiting.interrupts[0]?.id ?? "";
  await resumeRun(chat.staff, { runId: forkId, interruptId, decision: "approve" });
  expect(await live(chat, forkId)).toMatchObject({ status: "completed" });
  expect(callsWith(`${tag} other`)).toHaveLength(1);
  expect(product.models.requests.at(-1)?.body.model).toBe("another");
});
