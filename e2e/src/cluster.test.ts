import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { violations, type Acknowledged } from "@agent-engine/testing/invariants.ts";
import { readSse } from "@agent-engine/testing/sse-client.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { Run, Submission } from "@agent-engine/protocol/resources.ts";
import {
  apiAt,
  createConversation,
  follow,
  getRun,
  openVisitor,
  pollState,
  send,
  type Api,
  type Reader,
} from "./api-client.ts";
import { startCluster, type Cluster, type ClusterWorker } from "./cluster.ts";

let cluster: Cluster;
const readers: Reader[] = [];
const acknowledged: Acknowledged[] = [];
let messages = 0;

beforeAll(async () => {
  cluster = await startCluster({ servers: 2, workers: 2 });
});

afterEach(() => {
  for (const reader of readers.splice(0)) reader.close();
  cluster.model.setScript(null);
});

afterAll(async () => {
  await cluster?.stop();
});

const urlOf = (index: number): string => cluster.servers[index]?.url ?? "";

async function visitorWithReaders(): Promise<{ visitor: Api; conversationId: string; both: Reader[] }> {
  const visitor = await openVisitor(urlOf(0), cluster.keys.publishableKey);
  const { id } = await createConversation(visitor);
  const both = [await follow(urlOf(0), visitor.token, id), await follow(urlOf(1), visitor.token, id)];
  readers.push(...both);
  return { visitor, conversationId: id, both };
}

async function ask(visitor: Api, conversationId: string, text: string): Promise<Submission> {
  const clientMessageId = `message-${++messages}`;
  const submission = await send(visitor, conversationId, clientMessageId, text);
  acknowledged.push({
    conversationId,
    clientMessageId,
    messageId: submission.message.id,
    runId: submission.run.id,
  });
  return submission;
}

/** Streams slowly enough for something to happen meanwhile. */
function slowAnswer(tokens: number, gapMs: number): void {
  cluster.model.setScript(() => ({ gapMs, steps: [{ kind: "tokens", count: tokens }] }));
}

async function ended(both: readonly Reader[], runId: string): Promise<void> {
  await waitFor(
    () => both.every((reader) => ["completed", "cancelled", "failed"].includes(reader.state.runs[runId]?.status ?? "")),
    { describe: "every reader to see the end of the run", timeoutMs: 30_000 },
  );
}

function assistantTexts(reader: Reader): string[] {
  return reader.state.messages.filter((message) => message.role === "assistant").map((message) => message.text);
}

async function workerOf(runId: string): Promise<ClusterWorker> {
  const { rows } = await cluster.db.query(
    "select count(*)::int as older from workers w, runs r join workers mine on mine.id = r.worker_id where r.id = $1 and w.started_at < mine.started_at and w.expires_at > now()",
    [runId.slice(4)],
  );
  const alive = cluster.workers.filter((worker) => worker.process.isRunning());
  const found = alive[rows[0].older];
  if (!found) throw new Error("no worker has the run");
  return found;
}

async function expectWhole(conversationId: string, both: readonly Reader[], visitor: Api): Promise<void> {
  const polled = await pollState(visitor, conversationId);
  for (const reader of both) {
    expect(reader.gaps).toBe(0);
    expect(reader.state).toEqual(polled);
  }
  expect(
    await violations(cluster.db, {
      acknowledged,
      clients: both.map((reader) => ({ conversationId, reader: "all" as const, state: reader.state })),
    }),
  ).toEqual([]);
}

test("two servers and two workers are one conversation to a client on each", async () => {
  const { visitor, conversationId, both } = await visitorWithReaders();
  const { run } = await ask(visitor, conversationId, "Hello");
  await ended(both, run.id);
  for (const reader of both) expect(assistantTexts(reader)).toEqual([numberedText(20)]);

  const response = await fetch(`${urlOf(1)}/v1/runs/${run.id}/stream`, {
    headers: { authorization: `Bearer ${visitor.token}` },
  });
  const overSse: Envelope[] = [];
  // The run's stream ends by itself after the terminal event.
  for await (const message of readSse(response)) overSse.push(JSON.parse(message.data) as Envelope);
  expect(overSse.at(-1)?.event.type).toBe("RUN_FINISHED");
  expect(overSse.every((envelope) => envelope.runId === run.id)).toBe(true);
  await expectWhole(conversationId, both, visitor);
});

test("a worker killed mid-answer: another one goes on, and the visitor reads the answer once", async () => {
  const { visitor, conversationId, both } = await visitorWithReaders();
  slowAnswer(60, 40);
  const { run } = await ask(visitor, conversationId, "A long one, please");
  await waitFor(() => assistantTexts(both[1] as Reader)[0]?.includes("token9 "), { describe: "part of the answer" });
  const victim = await workerOf(run.id);
  victim.process.signal("SIGKILL");
  await victim.process.exited;
  await ended(both, run.id);
  for (const reader of both) expect(assistantTexts(reader)).toEqual([numberedText(60)]);
  expect((await getRun(visitor, run.id)).attempt).toBe(2);
  await expectWhole(conversationId, both, visitor);
  await cluster.addWorker();
});

test("a worker killed between a commit and its publish: nothing of it is lost to a reader", async () => {
  const { visitor, conversationId, both } = await visitorWithReaders();
  slowAnswer(60, 40);
  const { run } = await ask(visitor, conversationId, "A long one, please");
  await waitFor(() => assistantTexts(both[0] as Reader)[0]?.includes("token5 "), { describe: "part of the answer" });
  const victim = await workerOf(run.id);
  // What it commits from now on, it can tell nobody.
  await victim.redisProxy.setMode({ kind: "blackhole" });
  const seen = both[0]?.state.lastSeq ?? 0;
  await waitFor(
    async () => {
      const { rows } = await cluster.db.query(
        "select last_seq::int as n from conversation_heads where conversation_id = $1",
        [conversationId.slice(5)],
      );
      return rows[0].n > seen + 3;
    },
    { describe: "commits that were not published" },
  );
  victim.process.signal("SIGKILL");
  await victim.process.exited;
  await ended(both, run.id);
  for (const reader of both) expect(assistantTexts(reader)).toEqual([numberedText(60)]);
  await expectWhole(conversationId, both, visitor);
  await cluster.addWorker();
});

test("stop reaches a model call that another process makes, and the next message works", async () => {
  const { visitor, conversationId, both } = await visitorWithReaders();
  slowAnswer(500, 40);
  const { run } = await ask(visitor, conversationId, "A very long one");
  await waitFor(() => assistantTexts(both[0] as Reader)[0]?.includes("token3 "), { describe: "part of the answer" });
  const stopped = await apiAt(urlOf(1), visitor.token).request<Run>("POST", `/v1/runs/${run.id}/cancel`);
  expect(stopped.status).toBe("cancelled");
  await ended(both, run.id);
  const request = cluster.model.requests.at(-1);
  await request?.ended;
  expect(request?.end).not.toBe("complete");
  expect(both[0]?.state.messages.at(-1)).toMatchObject({ role: "assistant", status: "incomplete" });

  cluster.model.setScript(null);
  const next = await ask(visitor, conversationId, "And now a short one");
  await ended(both, next.run.id);
  expect(assistantTexts(both[0] as Reader).at(-1)).toBe(numberedText(20));
  await expectWhole(conversationId, both, visitor);
});

test("a model that is down: the run retries, waits for an operator with the reason, and goes on when told to", async () => {
  const { visitor, conversationId, both } = await visitorWithReaders();
  await cluster.model.refuseConnections();
  const { run } = await ask(visitor, conversationId, "Is anybody there?");
  await waitFor(() => both.every((reader) => reader.state.runs[run.id]?.status === "waiting"), {
    describe: "the run to wait",
    timeoutMs: 60_000,
  });
  const seen = both[0]?.state.runs[run.id];
  expect(seen?.status === "waiting" && seen.interrupts).toMatchObject([{ reason: "operator" }]);
  expect(JSON.stringify(seen)).not.toContain("ECONNREFUSED");

  const staff = apiAt(urlOf(1), cluster.keys.secretKey);
  const waiting = await getRun(staff, run.id);
  expect(waiting.interrupts[0]?.metadata).toMatchObject({ attempts: expect.any(Number) });
  await cluster.model.acceptConnections();
  await staff.request("POST", `/v1/runs/${run.id}/resume`, {
    interruptId: waiting.interrupts[0]?.id,
    decision: "retry",
  });
  await ended(both, run.id);
  for (const reader of both) expect(assistantTexts(reader)).toEqual([numberedText(20)]);
  await expectWhole(conversationId, both, visitor);
});
