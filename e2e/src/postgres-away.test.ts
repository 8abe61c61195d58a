/** Postgres goes away and comes back: requests are told to wait, everybody else waits without being told. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startCluster, type Cluster } from "./cluster.ts";
import { openScene, SLOW, type Scene } from "./scene.ts";

/** What a request may take that hangs when Postgres falls silent, and what those may take that come later. */
const NOTICED_MS = 12_000;
const TOLD_MS = 1_500;
const WARNING = 40;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({ servers: 2, workers: 2 });
});
afterAll(() => cluster?.stop());

const processes = () => [...cluster.servers, ...cluster.workers].map(({ process }) => process);

/** Lines of each process's log that would wake somebody. */
const alarms = () =>
  processes().map(
    (process) =>
      [...process.logs().matchAll(/^\{"level":(\d+)/gm)].filter(([, level]) => Number(level) >= WARNING).length,
  );

async function requestsAreTold({ urlOf, visitor, conversation }: Scene, limitMs: number): Promise<void> {
  const path = `/v1/conversations/${conversation.id}`;
  const headers = { authorization: `Bearer ${visitor.token}`, "content-type": "application/json" };
  const body = JSON.stringify({ clientMessageId: `told-${conversation.id}`, text: "Hello?" });
  const signal = AbortSignal.timeout(limitMs);
  const staff = { authorization: `Bearer ${cluster.keys.secretKey}` };
  const answers = await Promise.all([
    fetch(`${urlOf(0)}${path}/messages`, { method: "POST", headers, body, signal }),
    fetch(`${urlOf(1)}${path}/events`, { headers, signal }),
    fetch(`${urlOf(1)}/v1/agents`, { headers: staff, signal }),
  ]);
  for (const answer of answers) {
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await answer.json()).toMatchObject({
      code: "unavailable",
      detail: expect.stringContaining("Send the same"),
    });
  }
}

test.each([
  ["stopped", "refuse"],
  ["frozen", "blackhole"],
] as const)("Postgres %s: sockets stay, nothing is lost, and everything goes on by itself", async (_name, kind) => {
  const scene = await openScene(cluster);
  const { reader, conversation } = scene;
  await scene.isLive();
  const { socket, goodbyes, connected } = scene.openSocket(1);
  expect(await connected).toBeNull();
  const { run: under } = await scene.submit(conversation.id, SLOW);
  await scene.answers();
  const [wentBefore, cameBefore] = [scene.printed("Postgres does not answer"), scene.printed("Postgres answers again")];
  const alarmsBefore = alarms();
  reader.forget();

  await cluster.postgresProxy.setMode({ kind });
  if (kind === "refuse") cluster.postgresProxy.cut();
  try {
    reader.client.send("And another thing");
    await requestsAreTold(scene, NOTICED_MS);
    await waitFor(() => scene.printed("Postgres does not answer").every((times, i) => times > (wentBefore[i] ?? 0)), {
      describe: "every process to say so",
    });
    await requestsAreTold(scene, TOLD_MS);
    for (const { url } of cluster.servers) {
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
      const ready = await fetch(`${url}/readyz`);
      expect([ready.status, await ready.json()]).toMatchObject([503, { checks: { postgres: "does not answer" } }]);
    }
    expect([socket.connected, goodbyes]).toEqual([true, []]);
    // The visitor sees their message on its way, and no alarm.
    expect(reader.client.getState()).toMatchObject({ error: null, outbox: [{ text: "And another thing" }] });
    expect(reader.client.getState().outbox[0]?.error).toBeUndefined();
    expect(reader.seen()).not.toContain("by null");
  } finally {
    await cluster.postgresProxy.setMode({ kind: "pass" });
  }

  await scene.completed(under.id);
  await waitFor(() => reader.client.getState().outbox.length === 0, {
    describe: () => `the message to be stored: ${JSON.stringify(reader.client.getState().outbox)}`,
    timeoutMs: 20_000,
  });
  const texts = () => scene.overSdk().messages.map(({ text }) => text);
  await waitFor(() => texts().length === 4 && texts()[3] === numberedText(20), {
    describe: () => `its answer: ${JSON.stringify(texts().slice(2))}`,
  });
  const { run: last } = await scene.submit(conversation.id, "Are you well?");
  await scene.completed(last.id);
  const [asked, answer] = ["And another thing", numberedText(20)];
  expect(texts()).toEqual([SLOW, numberedText(60), asked, answer, "Are you well?", answer]);
  expect([socket.connected, goodbyes]).toEqual([true, []]);
  expect(reader.seen()).toEqual(["live"]);
  expect(processes().every((process) => process.isRunning())).toBe(true);
  await waitFor(async () => (await scene.violations()).every(({ invariant }) => invariant !== "I4"), {
    describe: "every run to be over",
  });
  expect(await scene.violations()).toEqual([]);
  const once = (before: number[]) => before.map((times) => times + 1);
  expect(scene.printed("Postgres does not answer")).toEqual(once(wentBefore));
  expect(scene.printed("Postgres answers again")).toEqual(once(cameBefore));
  // One line says it; what fails for that reason is no news. A run that another worker took over may be.
  for (const [index, count] of alarms().entries()) {
    const raised = count - (alarmsBefore[index] ?? 0);
    expect(raised).toBeGreaterThanOrEqual(1);
    expect(raised).toBeLessThan(10);
  }
  scene.close();
});
