import { describe, expect, it } from "vitest";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import type { ToolConnection } from "@agent-engine/core/toolkits/toolkit.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import type { ToolAccount } from "./bound-tool.ts";
import type { CallDecision, RecordedStep, ToolInvocation } from "./effects.ts";
import { play, ToolFailed, verifyRun, type FakeTool, type Played } from "./engine-harness.ts";

const connection: ToolConnection = { id: "connection_1", credential: { account: {}, secret: null, ownerKey: "o" } };
const scripts = [[{ call: "t", arguments: { a: 1 } }], [{ say: "Then." }]];
const by = "visitor";

function account(changes: Partial<ToolAccount> = {}): ToolAccount {
  return { toolkitId: "toolkit_1", title: "Mail", mayConnect: true, connect: async () => null, ...changes };
}
const connected = account({ connect: async () => connection });
const tool = (changes: Partial<FakeTool> = {}): FakeTool => ({ name: "t", effect: "write", ...changes });
const expired = async () => {
  throw new ToolFailed(failureOf("tool.connection_expired", "The token has expired."));
};

function interruptsOf({ result }: Played) {
  return result?.kind === "interrupt" ? result.interrupts : [];
}

async function resume(before: Played, tools: FakeTool[], changes: Partial<ToolInvocation>): Promise<Played> {
  const [recorded] = before.steps;
  if (!recorded) throw new Error("no step was recorded");
  const resumeStep: RecordedStep = {
    ...recorded,
    invocations: recorded.invocations.map((invocation) => ({ ...invocation, ...changes })),
  };
  return play({
    scripts: [[{ say: "Then." }]],
    tools,
    input: { stepIndex: 0, resumeStep, history: reduce(before.state, []) },
    usedIds: 100,
  });
}

describe("a tool that needs an account", () => {
  it("is called with the connection, found anew for each attempt", async () => {
    const given: unknown[] = [];
    let found = 0;
    const run = await play({
      scripts,
      tools: [
        tool({
          effect: "read",
          account: account({ connect: async () => ({ ...connection, id: `connection_${++found}` }) }),
          call: async (request) => {
            given.push(request.connection?.id);
            if (given.length === 1) throw new ToolFailed({ kind: "transient" });
            return { content: "ok" };
          },
        }),
      ],
    });
    expect(given).toEqual(["connection_2", "connection_3"]);
    expect(run.result).toMatchObject({ kind: "finished" });
  });

  it("asks the visitor to connect where there is none, before anybody approves", async () => {
    const before = await play({ scripts, tools: [tool({ policy: "approve", account: account() })] });
    expect(before.begun).toEqual([]);
    expect(interruptsOf(before)).toMatchObject([
      {
        reason: "connection",
        toolCallId: before.steps[0]?.invocations[0]?.toolCallId,
        metadata: {
          kind: "connection",
          toolkit: "fake",
          toolkitId: "toolkit_1",
          title: "Mail",
          tool: "t",
          code: "not_connected",
          choices: ["decline"],
        },
      },
    ]);
    await verifyRun(before);
    const decision = { kind: "connected" as const, by, attempts: 0 };
    const after = await resume(before, [tool({ policy: "approve", account: connected })], { decision });
    expect(after.ledger).toEqual([]);
    expect(interruptsOf(after)).toMatchObject([{ reason: "approval" }]);
    const open = await resume(before, [tool({ account: connected })], { decision });
    expect(open.ledger).toHaveLength(1);
    expect(open.result).toMatchObject({ kind: "finished", text: "Then." });
  });

  it("asks an operator where nobody in the chat can connect; a retry then still asks for the approval", async () => {
    const absent = account({ mayConnect: false });
    const before = await play({ scripts, tools: [tool({ policy: "approve", account: absent })] });
    expect(interruptsOf(before)).toMatchObject([
      { reason: "operator", metadata: { code: "not_connected", outcome: "not_done", attempts: 0 } },
    ]);
    const retry = { kind: "retry" as const, by, attempts: 0, outcome: "not_done" };
    const tools = [tool({ policy: "approve", account: connected })];
    expect(interruptsOf(await resume(before, tools, { decision: retry }))).toMatchObject([{ reason: "approval" }]);
    const again = await resume(before, tools, { decision: { ...retry, approved: true } });
    expect(again.ledger).toHaveLength(1);
  });

  it("tells the model when the visitor would rather not", async () => {
    const before = await play({ scripts, tools: [tool({ account: account() })] });
    const decision: CallDecision = { kind: "decline", by, of: "connection" };
    const run = await resume(before, [tool({ account: account() })], { decision });
    expect(run.ledger).toEqual([]);
    expect(run.state.toolCalls[0]?.result).toContain("did not connect the account");
    expect(run.result).toMatchObject({ kind: "finished" });
  });

  it("asks the visitor again when the connection turns out to be over, and sends even a write once more after it", async () => {
    const before = await play({ scripts, tools: [tool({ account: connected, call: expired })] });
    expect(before.begun).toHaveLength(1);
    expect(before.outcomes).toEqual([]);
    expect(interruptsOf(before)).toMatchObject([
      { reason: "connection", metadata: { code: "connection_expired", outcome: "not_done" } },
    ]);
    const decision: CallDecision = { kind: "connected", by, attempts: 1, outcome: "not_done" };
    const run = await resume(before, [tool({ policy: "approve", account: connected })], { attempts: 1, decision });
    expect(run.ledger).toMatchObject([{ key: before.ledger[0]?.key }]);
    expect(run.result).toMatchObject({ kind: "finished" });
  });

  it("asks an operator when a tenant's connection is over", async () => {
    const tenants = account({ mayConnect: false, connect: async () => connection });
    const run = await play({ scripts, tools: [tool({ account: tenants, call: expired })] });
    expect(interruptsOf(run)).toMatchObject([
      { reason: "operator", metadata: { code: "connection_expired", outcome: "not_done" } },
    ]);
  });

  it("does not make of an unknown write a known one: the account may have gone after it was sent", async () => {
    const before = await play({ scripts, tools: [tool({ account: connected, call: () => new Promise(() => {}) })] });
    const decision: CallDecision = { kind: "retry", by, attempts: 1, outcome: "unknown" };
    const run = await resume(before, [tool({ account: account() })], { attempts: 1, decision });
    expect(interruptsOf(run)).toMatchObject([{ reason: "operator", metadata: { outcome: "unknown" } }]);
  });

  it("asks once for each of several calls, whether they read or write", async () => {
    const calls = [1, 2, 3].map((a) => ({ call: "t", arguments: { a } }));
    for (const effect of ["read", "write"] as const) {
      const run = await play({ scripts: [calls], tools: [tool({ effect, account: account() })] });
      expect(interruptsOf(run).map(({ reason }) => reason)).toEqual(["connection", "connection", "connection"]);
      expect(new Set(interruptsOf(run).map(({ id }) => id)).size).toBe(3);
    }
  });

  it("is tried again where its connection cannot be read, without being marked as sent", async () => {
    let asked = 0;
    const shaky = account({
      connect: async () => {
        if (++asked < 3) throw new Error("no database");
        return connection;
      },
    });
    const run = await play({ scripts, tools: [tool({ account: shaky })] });
    expect(run.begun).toHaveLength(1);
    expect(run.result).toMatchObject({ kind: "finished" });
  });

  it("holds nobody up whose connection is never found: a cancelled call was not begun", async () => {
    const hanging = account({ connect: () => new Promise(() => {}) });
    const run = await play({ scripts, tools: [tool({ account: hanging })], cancelAfterMs: 5_000 });
    expect(run.begun).toEqual([]);
    expect(run.outcomes).toEqual([]);
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "cancelled" });
  });
});

describe("a tool that the visitor's browser answers", () => {
  const ask: FakeTool["ask"] = ({ arguments: args }) => ({
    message: "The assistant waits for the page.",
    metadata: { kind: "client_tool", pageId: "p", tool: "t", arguments: args },
    responseSchema: { type: "object" },
    expiresInMs: 60_000,
  });

  it("is asked, not called; what it answers is the result", async () => {
    const before = await play({ scripts, tools: [tool({ ask })] });
    expect(before.ledger).toEqual([]);
    expect(interruptsOf(before)).toMatchObject([
      {
        reason: "client_tool",
        responseSchema: { type: "object" },
        expiresAt: expect.stringMatching(/Z$/),
        metadata: { toolkit: "fake", pageId: "p", arguments: { a: 1 }, choices: ["result", "error"] },
      },
    ]);
    const run = await resume(before, [tool({ ask })], { decision: { kind: "result", by, content: { n: 7 } } });
    expect(run.ledger).toEqual([]);
    expect(run.state.toolCalls[0]?.result).toBe('{"n":7}');
    await verifyRun(run);
  });

  it("may fail, or say nothing at all: the model is told", async () => {
    const before = await play({ scripts, tools: [tool({ ask })] });
    const failed = await resume(before, [tool({ ask })], { decision: { kind: "error", by, reason: "No cart." } });
    expect(failed.state.toolCalls[0]?.result).toContain("No cart.");
    const silent = await resume(before, [tool({ ask })], { decision: { kind: "error", by: "expiry" } });
    expect(silent.state.toolCalls[0]?.result).toContain("did not answer");
    expect(silent.outcomes).toMatchObject([{ outcome: { status: "failed", failure: { code: "page_failed" } } }]);
  });

  it("is asked after its approval, and one at a time where it changes something", async () => {
    const before = await play({ scripts, tools: [tool({ ask, policy: "approve" })] });
    expect(interruptsOf(before)).toMatchObject([{ reason: "approval" }]);
    const tools = [tool({ ask, policy: "approve" })];
    const asked = await resume(before, tools, { decision: { kind: "approve", by } });
    expect(interruptsOf(asked)).toMatchObject([{ reason: "client_tool" }]);
    const calls = [1, 2].map((a) => ({ call: "t", arguments: { a } }));
    expect(interruptsOf(await play({ scripts: [calls], tools: [tool({ ask })] }))).toHaveLength(1);
    expect(interruptsOf(await play({ scripts: [calls], tools: [tool({ ask, effect: "read" })] }))).toHaveLength(2);
  });
});
