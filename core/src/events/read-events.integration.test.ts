import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { firstSeq } from "@agent-engine/protocol/envelope.ts";
import {
  addWorker,
  ask,
  openSpine,
  openTenant,
  startConversation,
  visitorOf,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { getConversation } from "../conversations/get-conversation.ts";
import { listConversations } from "../conversations/list-conversations.ts";
import { newId, uuidOf } from "../ids.ts";
import { listRuns } from "../runs/list-runs.ts";
import { conversationState } from "./conversation-state.ts";
import { headsOf } from "./heads.ts";
import { readAllEvents, readEventPage, readEvents, type ReadEvents } from "./read-events.ts";

let spine: Spine;
let tenant: TestTenant;
/** Two runs: the first has eight events and is over, the second has only its message. */
let conversationId: string;
let runs: string[];

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  const worker = await addWorker(spine);
  conversationId = await startConversation(tenant);
  const first = await ask(tenant.ctx, conversationId, "When?");
  const working = await work(spine, worker, first.run.id);
  const messageId = newId("msg");
  await working.write({ type: "TEXT_MESSAGE_START", messageId, role: "assistant" });
  for (const delta of ["At", " nine"]) await working.write({ type: "TEXT_MESSAGE_CONTENT", messageId, delta });
  working.log.emit({ type: "REASONING_START", messageId });
  await working.write({ type: "TEXT_MESSAGE_END", messageId });
  await working.complete();
  const second = await ask(tenant.ctx, conversationId, "And then?");
  runs = [first.run.id, second.run.id];
});
afterAll(() => spine.close());

const read = (more: Partial<ReadEvents> = {}) =>
  readEvents(tenant.ctx, { conversationId, after: 0, limit: 100, ...more });
const spans = (envelopes: Awaited<ReturnType<typeof read>>) => envelopes.map((one) => [firstSeq(one), one.seq]);

describe("reading a log", () => {
  test("gives every event in order, adjacent deltas as one", async () => {
    const events = await read();
    expect(spans(events)).toEqual([
      ...[
        [1, 1],
        [2, 2],
        [3, 3],
        [4, 4],
        [5, 5],
        [6, 7],
        [8, 8],
        [9, 9],
        [10, 10],
      ],
      ...[
        [11, 11],
        [12, 12],
        [13, 13],
      ],
    ]);
    expect(events[5]).toMatchObject({ from: 6, seq: 7, event: { delta: "At nine" } });
    expect(events.map(({ audience }) => audience).indexOf("staff")).toBe(6);
    expect(events[0]).toMatchObject({ conversationId, runId: runs[0], correlationId: "test" });
  });

  test("goes on after a cursor, also one inside what was merged, and ends where it is told", async () => {
    expect(spans(await read({ after: 6 }))[0]).toEqual([7, 7]);
    expect(spans(await read({ after: 4, upTo: 6 }))).toEqual([
      [5, 5],
      [6, 6],
    ]);
    expect(await read({ after: 13 })).toEqual([]);
    expect(await read({ after: Number.MAX_SAFE_INTEGER })).toEqual([]);
  });

  test("counts rows against its limit, so a page never skips one", async () => {
    expect(spans(await read({ after: 4, limit: 2 }))).toEqual([
      [5, 5],
      [6, 6],
    ]);
    let after = 0;
    const seen: number[][] = [];
    for (;;) {
      const page = await read({ after, limit: 3 });
      if (page.length === 0) break;
      seen.push(...spans(page));
      after = page.at(-1)?.seq ?? after;
    }
    expect(seen.flatMap(([from = 0, to = 0]) => Array.from({ length: to - from + 1 }, (_, i) => from + i))).toEqual(
      Array.from({ length: 13 }, (_, i) => i + 1),
    );
  });

  test("in pages of so many bytes ends each with the event that goes beyond, and says whether it was the last", async () => {
    const pageOf = (more: Partial<ReadEvents> & { maxBytes: number }) =>
      readEventPage(tenant.ctx, { conversationId, after: 0, limit: 100, ...more });
    const whole = await pageOf({ maxBytes: 1_000_000 });
    expect(whole).toEqual({ events: await read(), isLast: true });
    const sizeOf = ({ event }: (typeof whole.events)[number]) => Buffer.byteLength(JSON.stringify(event));
    const [first, second] = whole.events;
    expect(spans((await pageOf({ maxBytes: sizeOf(first!) + 1 })).events)).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(await pageOf({ maxBytes: sizeOf(first!) })).toEqual({ events: [first], isLast: false });
    expect(await pageOf({ maxBytes: 1, after: 1 })).toEqual({ events: [second], isLast: false });
    expect(await pageOf({ maxBytes: 1_000_000, limit: 2 })).toEqual({ events: [first, second], isLast: false });
    expect(await pageOf({ maxBytes: 1, after: 13 })).toEqual({ events: [], isLast: true });
    const ofRun = await pageOf({ maxBytes: 1, runId: runs[1] ?? "" });
    expect([spans(ofRun.events), ofRun.isLast]).toEqual([[[11, 11]], false]);
  });

  test("of one run gives its own events alone, whatever lies between", async () => {
    expect((await read({ runId: runs[1] ?? "" })).map(({ seq }) => seq)).toEqual([11, 12, 13]);
    expect(await read({ runId: newId("run") })).toEqual([]);
  });

  test("in pages gives a long log whole", async () => {
    const long = await startConversation(tenant);
    const n = 11_003;
    await spine.owner.query(
      `insert into events (conversation_id, seq, tenant_id, audience, correlation_id, at, event)
       select $1, n, $2, 'all', 'c', now(), json_build_object('type', 'STEP_STARTED', 'stepName', n::text) from generate_series(1, $3) n`,
      [uuidOf(long), uuidOf(tenant.id), n],
    );
    let [pages, last] = [0, 0];
    for await (const page of readAllEvents(tenant.ctx, { conversationId: long, after: 2 })) {
      pages++;
      expect(page[0]?.seq).toBe(pages === 1 ? 3 : last + 1);
      last = page.at(-1)?.seq ?? 0;
    }
    expect([pages, last]).toEqual([3, n]);
    expect((await conversationState(tenant.ctx, { conversationId: long }, "staff")).lastSeq).toBe(n);
  });
});

test("the state is the fold, up to any moment, as its reader may see it", async () => {
  const state = await conversationState(tenant.ctx, { conversationId }, "all");
  expect(state).toMatchObject({ lastSeq: 13, activeRunId: null });
  expect(state.messages.map(({ text, status }) => [text, status])).toEqual([
    ["When?", "complete"],
    ["At nine", "complete"],
    ["And then?", "complete"],
  ]);
  const then = await conversationState(tenant.ctx, { conversationId, at: 6 }, "all");
  expect(then).toMatchObject({ lastSeq: 6, activeRunId: runs[0] });
  expect(then.messages.at(-1)).toMatchObject({ text: "At", status: "streaming" });
  expect(await conversationState(tenant.ctx, { conversationId: newId("conv") }, "all")).toMatchObject({ lastSeq: 0 });
});

test("heads of many conversations come at once, across tenants; unknown ones are left out", async () => {
  const other = await openTenant(spine);
  const theirs = await startConversation(other);
  await ask(other.ctx, theirs);
  const heads = await headsOf(spine.services, [conversationId, theirs, newId("conv")]);
  expect(heads).toEqual(
    new Map([
      [conversationId, 13],
      [theirs, 3],
    ]),
  );
  expect(await headsOf(spine.services, [])).toEqual(new Map());
});

describe("lists", () => {
  test("are newest first and lead from page to page; a visitor's hold their own alone", async () => {
    const other = await openTenant(spine);
    const visitor = await visitorOf(other);
    const mine = [
      await startConversation({ ...other, ctx: visitor }),
      await startConversation({ ...other, ctx: visitor }),
    ];
    const staffs = await startConversation(other);
    const list = async (ctx = other.ctx, limit = 2) => {
      const ids: string[] = [];
      let cursor: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof listConversations>> = await listConversations(ctx, { limit, cursor });
        expect(page.items.length).toBeLessThanOrEqual(limit);
        ids.push(...page.items.map(({ id }) => id));
        cursor = page.nextCursor;
      } while (cursor !== null);
      return ids;
    };
    expect(await list()).toEqual([staffs, ...mine.toReversed()]);
    expect(await list(other.ctx, 1)).toEqual([staffs, ...mine.toReversed()]);
    expect(await list(visitor)).toEqual(mine.toReversed());
    expect(await getConversation(visitor, mine[0] ?? "")).toMatchObject({ id: mine[0], lastSeq: 0, mode: "agent" });
    await expect(getConversation(visitor, staffs)).rejects.toMatchObject({ code: "not_found" });
  });

  test("take no cursor but their own", async () => {
    for (const cursor of ["", "x", conversationId.toUpperCase(), runs[0] ?? ""]) {
      await expect(listConversations(tenant.ctx, { limit: 1, cursor })).rejects.toMatchObject({
        code: "invalid_request",
      });
    }
  });

  test("of runs are a tenant's, or one conversation's", async () => {
    const page = await listRuns(tenant.ctx, { limit: 1, cursor: null, conversationId });
    expect(page.items.map(({ id }) => id)).toEqual([runs[1]]);
    const rest = await listRuns(tenant.ctx, { limit: 5, cursor: page.nextCursor, conversationId });
    expect(rest).toMatchObject({ items: [{ id: runs[0], status: "completed" }], nextCursor: null });
    expect((await listRuns(tenant.ctx, { limit: 5, cursor: null })).items).toHaveLength(2);
  });
});
