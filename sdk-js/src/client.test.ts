import { startFakeEngine } from "@agent-engine/testing/fake-engine.ts";
import { describe, expect, it } from "vitest";
import { AgentEngine } from "./client.ts";
import { AgentEngineError } from "./problem.ts";

interface Seen {
  method: string;
  url: string;
  headers: Headers;
  body: unknown;
}

/** An engine that answers from a list, and what it was asked. */
function answering(...answers: (Response | Error)[]) {
  const seen: Seen[] = [];
  const engine = AgentEngine({
    apiKey: "sk_test",
    baseUrl: "https://engine",
    random: () => 0,
    fetch: async (url, init) => {
      const body = typeof init.body === "string" ? JSON.parse(init.body) : null;
      seen.push({ method: init.method ?? "GET", url, headers: new Headers(init.headers), body });
      const answer = answers.shift();
      if (!answer || answer instanceof Error) throw answer ?? new Error("no answer left");
      return answer;
    },
  });
  return { engine, seen };
}

const problem = (status: number, code: string) =>
  Response.json({ status, code, detail: "Do this.", requestId: "req_1" }, { status });
const stream = (...seqs: number[]) => {
  const block = (seq: number) =>
    `id: ${seq}\ndata: ${JSON.stringify({
      seq,
      event: seq === 5 ? { type: "RUN_FINISHED", outcome: { type: "success" } } : { type: "STEP_STARTED" },
    })}\n\n`;
  return new Response(`: hello\n\n${seqs.map(block).join("")}`);
};

describe("the partner's client", () => {
  it("creates a run with the key, the body and an idempotency key", async () => {
    const { engine, seen } = answering(Response.json({ run: { id: "run_1" } }, { status: 202 }));
    await engine.runs.create({ agentId: "agent_1", input: "hi" }, { idempotencyKey: "once" });
    expect(seen[0]).toMatchObject({
      method: "POST",
      url: "https://engine/v1/runs",
      body: { agentId: "agent_1", input: "hi" },
    });
    expect(seen[0]?.headers.get("authorization")).toBe("Bearer sk_test");
    expect(seen[0]?.headers.get("idempotency-key")).toBe("once");
  });

  it("forks a run, from where it began or from one of its events", async () => {
    const { engine, seen } = answering(Response.json({}, { status: 202 }), Response.json({}, { status: 202 }));
    await engine.runs.fork("run_1");
    await engine.runs.fork("run_1", { atSeq: 9, changes: { message: "hello" } }, { idempotencyKey: "once" });
    expect(seen.map(({ url, body }) => [url, body])).toEqual([
      ["https://engine/v1/runs/run_1/fork", {}],
      ["https://engine/v1/runs/run_1/fork", { atSeq: 9, changes: { message: "hello" } }],
    ]);
    expect(seen[1]?.headers.get("idempotency-key")).toBe("once");
  });

  it("retries a transient failure with the same idempotency key", async () => {
    const { engine, seen } = answering(
      problem(503, "unavailable"),
      new Error("reset"),
      Response.json({ id: "agent_1" }),
    );
    await engine.agents.create({ name: "Helper" });
    const keys = seen.map(({ headers }) => headers.get("idempotency-key"));
    expect(new Set(keys).size).toBe(1);
    expect(keys).toHaveLength(3);
  });

  it("throws a typed error for what will not mend, and never repeats it", async () => {
    const { engine, seen } = answering(problem(404, "not_found"));
    const failure = engine.runs.get("run_1");
    await expect(failure).rejects.toBeInstanceOf(AgentEngineError);
    await expect(failure).rejects.toMatchObject({
      code: "not_found",
      status: 404,
      message: "Do this.",
      requestId: "req_1",
    });
    expect(seen).toHaveLength(1);
  });

  it("pages with a cursor", async () => {
    const { engine, seen } = answering(Response.json({ items: [], nextCursor: null }));
    await engine.conversations.list({ limit: 5, cursor: "c&d" });
    expect(seen[0]?.url).toBe("https://engine/v1/conversations?limit=5&cursor=c%26d");
  });

  it("streams a run to its end through a cut, each event once", async () => {
    const { engine, seen } = answering(stream(1, 2), new Error("cut"), stream(2, 3, 5));
    const seqs: number[] = [];
    for await (const { seq } of engine.runs.stream("run_1")) seqs.push(seq);
    expect(seqs).toEqual([1, 2, 3, 5]);
    expect(seen.map(({ headers }) => headers.get("last-event-id"))).toEqual(["0", "2", "2"]);
  });

  it("speaks the wire: a problem document becomes the error", async () => {
    const fake = await startFakeEngine();
    try {
      const engine = AgentEngine({ apiKey: "sk_wrong", baseUrl: fake.url });
      await expect(engine.runs.list()).rejects.toMatchObject({ code: "unauthenticated", status: 401 });
    } finally {
      await fake.stop();
    }
  });
});
