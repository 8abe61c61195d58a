/** What visitors notice of a Redis that goes away and comes back: that their sockets close, and nothing else. */
import { expect } from "vitest";
import type { Submission } from "@agent-engine/protocol/resources.ts";
import type { ProxyMode } from "@agent-engine/testing/fault-proxy.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { apiAt, createConversation, getRun } from "./api-client.ts";
import type { Cluster } from "./cluster.ts";
import { openScene, SLOW } from "./scene.ts";

/** What a request may take, whatever Redis does. */
const ANSWERED_MS = 1_500;
/** Within which open sockets are closed. */
const NOTICED_MS = 5_000;

export interface Outage {
  begin(cluster: Cluster): unknown;
  end(cluster: Cluster): unknown;
}

/** The lines between all processes and Redis. */
export async function lines({ servers, workers }: Cluster, mode: ProxyMode): Promise<void> {
  await Promise.all([...servers, ...workers].map(({ redisProxy }) => redisProxy.setMode(mode)));
}

/** The same answer, and no later than it may be. */
async function inTime<T>(answering: Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const answer = await answering;
  expect(performance.now() - startedAt).toBeLessThan(ANSWERED_MS);
  return answer;
}

export async function livesThrough(cluster: Cluster, outage: Outage): Promise<void> {
  const scene = await openScene(cluster);
  try {
    await play(cluster, scene, outage);
  } finally {
    scene.close();
  }
}

async function play(cluster: Cluster, scene: Awaited<ReturnType<typeof openScene>>, outage: Outage): Promise<void> {
  const { visitor, conversation, reader, urlOf } = scene;
  const { id } = conversation;
  const { socket, goodbyes, connected } = scene.openSocket(1);
  expect(await connected).toBeNull();
  await scene.isLive();
  const silent = await scene.silentRun();
  const under = await scene.submit(id, SLOW);
  await scene.answers();
  const [wentBefore, cameBefore] = [scene.printed("Redis does not answer"), scene.printed("Redis answers again")];
  reader.forget();
  const isDegraded = () => reader.client.getState().connection.status === "degraded";

  const begun = performance.now();
  await outage.begin(cluster);
  let waiting: Submission;
  try {
    // The very first requests: a new conversation, a message behind a running one, a run by a key, and one of them again.
    const other = await inTime(createConversation(visitor));
    const staff = apiAt(urlOf(1), cluster.keys.secretKey);
    const run = { agentId: cluster.keys.agentId, input: "Hello?" };
    const [first, second] = await Promise.all([
      inTime(scene.submit(other.id, "Is anybody there?")),
      inTime(scene.submit(id, "And another thing", `thing-${id}`)),
      inTime(staff.request<Submission>("POST", "/v1/runs", run, { "idempotency-key": `run-${id}` })),
    ]);
    waiting = second;
    const again = await inTime(scene.submit(id, "And another thing", `thing-${id}`));
    expect(again.message).toEqual(second.message);
    await Promise.all([
      // Each server notices by itself; the SDK is on the other one.
      waitFor(() => socket.disconnected && goodbyes.length > 0 && isDegraded(), {
        describe: "the goodbyes",
        timeoutMs: NOTICED_MS - (performance.now() - begun),
      }),
      waitFor(async () => (await getRun(visitor, first.run.id)).status === "completed", {
        describe: "the answer to a message of the outage, in the outage",
      }),
      scene.stopped(silent),
    ]);
    const unavailable = { code: "realtime_unavailable", retryable: true, detail: expect.any(String) };
    expect(goodbyes).toEqual([unavailable]);
    expect(await scene.openSocket(0).connected).toEqual(unavailable);
    await scene.stopped(await scene.silentRun());
    await scene.completed(under.run.id);
    expect(reader.client.getState().connection).toMatchObject({ status: "degraded", via: expect.any(String) });
  } finally {
    await outage.end(cluster);
  }

  await Promise.all([scene.isLive(), scene.completed(waiting.run.id)]);
  // Nothing that a visitor would be told of.
  expect(reader.seen()).not.toContain("by null");
  expect(reader.seen()).not.toContain("reconnecting");
  const after = await scene.submit(id, "Are you well?");
  await Promise.all([
    scene.brokerRings(),
    scene.silentRun().then((run) => scene.stopped(run)),
    scene.completed(after.run.id),
  ]);
  const answers = scene.overSdk().messages.filter(({ role }) => role === "assistant");
  expect(answers.map(({ text }) => text)).toEqual([numberedText(60), numberedText(20), numberedText(20)]);
  await waitFor(async () => (await scene.violations()).every(({ invariant }) => invariant !== "I4"), {
    describe: "every run to be over",
  });
  expect(await scene.violations()).toEqual([]);
  const once = (before: number[]) => before.map((times) => times + 1);
  // Each process sees it by itself, the last one a moment later.
  await waitFor(() => scene.printed("Redis answers again").every((times, at) => times > (cameBefore[at] ?? 0)), {
    describe: "every process to say that Redis answers again",
  });
  expect(scene.printed("Redis does not answer")).toEqual(once(wentBefore));
  expect(scene.printed("Redis answers again")).toEqual(once(cameBefore));
}
