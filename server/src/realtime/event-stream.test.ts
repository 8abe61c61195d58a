import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Hono } from "hono";
import type { AppEnv, Principal } from "../http/request.ts";
import { openEventStream } from "./event-stream.ts";
import { CONVERSATION, delta, HubFixture, TENANT } from "./hub-fixture.ts";

const VISITOR = {
  tenantId: TENANT,
  actor: { kind: "visitor", visitorId: "visitor_1", siteId: "site_1", agentId: "agent_1" },
  origin: null,
} as const;

function serve(fixture: HubFixture, expiresAt: number | null = null) {
  const app = new Hono<AppEnv>();
  const principal: Principal = { ...VISITOR, expiresAt };
  const source = { hub: fixture.hub, clock: () => Date.now(), live: { watch: () => () => {} } };
  app.get("/", (c) =>
    openEventStream(c, source, principal, { conversationId: CONVERSATION, runId: null, runEnded: false, after: 0 }),
  );
  return app;
}

describe("an event stream", () => {
  beforeEach(
    () => void vi.useFakeTimers({ toFake: ["setInterval", "setTimeout", "clearInterval", "clearTimeout", "Date"] }),
  );
  afterEach(() => void vi.useRealTimers());

  async function open(fixture: HubFixture, expiresAt: number | null = null) {
    const response = await serve(fixture, expiresAt).request("/");
    const reader = response.body?.getReader();
    if (!reader) throw new Error("no body");
    const read = async () => {
      const { done, value } = await reader.read();
      return done ? null : Buffer.from(value).toString();
    };
    return { read, cancel: () => reader.cancel() };
  }

  test("says when to reconnect, sends events by their seq, and keeps a quiet connection alive", async () => {
    const fixture = new HubFixture();
    fixture.append(delta("a", "msg_a"), delta("b", "msg_b"));
    const { read } = await open(fixture);
    expect(await read()).toBe("retry: 1000\n\n");
    await fixture.settle();
    const text = await read();
    expect(text).toMatch(/^id: 1\ndata: \{.*\}\n\nid: 2\ndata: \{.*\}\n\n$/);
    vi.advanceTimersByTime(15_000);
    expect(await read()).toBe(": keep-alive\n\n");
    fixture.hub.close();
    expect(await read()).toBeNull();
  });

  test("leaves the hub when its client goes", async () => {
    const fixture = new HubFixture();
    const { cancel } = await open(fixture);
    await fixture.settle();
    expect(fixture.hub.size.readers).toBe(1);
    await cancel();
    expect(fixture.hub.size.readers).toBe(0);
    // Only the hub's own.
    expect(vi.getTimerCount()).toBe(1);
  });

  test("ends when its credential ends", async () => {
    const fixture = new HubFixture();
    const { read } = await open(fixture, Date.now() + 60_000);
    expect(await read()).toBe("retry: 1000\n\n");
    vi.advanceTimersByTime(60_000);
    let last: string | null = "";
    while (last !== null) last = await read();
    expect(fixture.hub.size.readers).toBe(0);
  });

  test("that nobody reads is held back, and catches up when it is read", async () => {
    const fixture = new HubFixture();
    const { read } = await open(fixture);
    await fixture.settle();
    for (let i = 0; i < 40; i++) {
      fixture.publish(fixture.append(delta("x".repeat(20_000), `msg_${i}`)));
      fixture.flush();
    }
    expect(fixture.hub.size.heldBack).toBe(1);
    const ids: number[] = [];
    while (ids.at(-1) !== 40) {
      const text = await read();
      ids.push(...[...(text ?? "").matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)));
      await fixture.settle();
    }
    expect(ids).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    fixture.hub.close();
  });
});
