import { describe, expect, it } from "vitest";
import { createInterruptCalls } from "./interrupts.ts";

/** An API that answers from a list, and what it was asked. */
function answering(...answers: (Response | Error)[]) {
  const seen: { method: string; url: string; key: string | null; body: unknown }[] = [];
  const calls = createInterruptCalls({
    baseUrl: "https://engine",
    credentials: { token: async () => "token", renew: async () => "token" },
    random: () => 0,
    fetch: async (url, init) => {
      const body = typeof init.body === "string" ? JSON.parse(init.body) : null;
      const key = new Headers(init.headers).get("idempotency-key");
      seen.push({ method: init.method ?? "GET", url, key, body });
      const answer = answers.shift();
      if (!answer || answer instanceof Error) throw answer ?? new Error("no answer left");
      return answer;
    },
  });
  return { calls, seen };
}

describe("what a waiting run is told", () => {
  it("is a decision, repeated under one key when the answer is lost", async () => {
    const { calls, seen } = answering(new Error("cut"), Response.json({ id: "run_1" }));
    await calls.resume("run_1", "int_1", "result", { content: 3 });
    expect(seen).toMatchObject(
      Array.from({ length: 2 }, () => ({
        method: "POST",
        url: "https://engine/v1/runs/run_1/resume",
        body: { interruptId: "int_1", decision: "result", payload: { content: 3 } },
      })),
    );
    expect(seen[0]?.key).toBeTruthy();
    expect(seen[0]?.key).toBe(seen[1]?.key);
  });

  it("rejects with interrupt_resolved, at once, when somebody was faster", async () => {
    const { calls, seen } = answering(
      Response.json({ code: "interrupt_resolved", status: 409, detail: "Declined by an operator." }, { status: 409 }),
    );
    await expect(calls.resume("run_1", "int_1", "approve")).rejects.toMatchObject({ code: "interrupt_resolved" });
    expect(seen).toHaveLength(1);
  });

  it("asks for a new link each time", async () => {
    const link = { connectionId: "conn_1", url: "https://provider", expiresAt: null };
    const { calls, seen } = answering(Response.json(link), Response.json(link));
    expect(await calls.connectionLink("run_1", "int_1")).toEqual(link);
    await calls.connectionLink("run_1", "int_1");
    expect(seen[0]).toMatchObject({
      url: "https://engine/v1/connections/link",
      body: { runId: "run_1", interruptId: "int_1" },
    });
    expect(seen[0]?.key).not.toBe(seen[1]?.key);
  });

  it("names what is still open, and replaces a page's tools", async () => {
    const { calls, seen } = answering(
      Response.json({ interrupts: [{ id: "int_1", reason: "approval" }] }),
      Response.json({ expiresAt: "2026-01-01T00:01:00Z" }),
    );
    expect(await calls.openInterrupts("run_1")).toEqual([{ id: "int_1", reason: "approval" }]);
    const tool = { name: "cart", description: "The cart.", parameters: { type: "object" } };
    await calls.setClientTools("conv_1", "page", [tool]);
    expect(seen[1]).toMatchObject({
      method: "PUT",
      url: "https://engine/v1/conversations/conv_1/client-tools",
      body: { pageId: "page", tools: [tool] },
    });
  });
});
