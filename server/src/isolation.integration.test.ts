/**
 * Nobody sees or touches what is not theirs: every route of the OpenAPI document and every socket event × another
 * tenant's id in path, body, query, cursor and header, for keys, members and visitors, and for another visitor of the
 * same tenant. What is somebody else's answers exactly as what never was. A route, field, parameter or event that
 * `isolation-fixture.ts` does not know fails here: say there what it names.
 */
import { readFile } from "node:fs/promises";
import { io, type Socket } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  REALTIME_PATH,
  type ClientToServer,
  type ServerToClient,
  type SubscribeAck,
} from "@agent-engine/protocol/realtime.ts";
import type { Conversation, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import {
  BODIES,
  everythingOf,
  furnish,
  KINDS,
  leaks,
  missing,
  NAMING_QUERY,
  NO_IDS,
  PLAIN_QUERY,
  PROVED_ELSEWHERE,
  type Belongings,
  type Furnished,
  type Kind,
} from "./isolation-fixture.ts";
import { fieldsOf, operationsOf, pathOf, type Operation } from "./operations-fixture.ts";
import { member } from "./people-fixture.ts";
import {
  append,
  call,
  converse,
  delta,
  ORIGIN,
  say,
  startServerFixture,
  visit,
  type ServerFixture,
} from "./server-fixture.ts";

const OTHER_ORIGIN = "https://other.example";

let fixture: ServerFixture;
let operations: Operation[];
let victim: Furnished;
let attackers: Attacker[];

interface Attacker {
  name: string;
  headers: Record<string, string>;
  /** What they have themselves, and what they reach for. */
  own: Belongings;
  theirs: Belongings;
  isVisitor: boolean;
}

beforeAll(async () => {
  fixture = await startServerFixture();
  operations = await operationsOf(fixture);
  const { demo, other } = fixture;
  const thieves = await member(fixture, "owner", other.tenantId);
  victim = await furnish(fixture, demo, ORIGIN, (await member(fixture, "viewer")).memberId);
  const own = await furnish(fixture, other, OTHER_ORIGIN, (await member(fixture, "viewer", other.tenantId)).memberId);
  const neighbour = (await visit(fixture)).visitorToken;
  const talk = await converse(fixture, neighbour);
  const { run } = await say(fixture, neighbour, talk.id, "I am the neighbour");
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const theirs = victim.own;
  attackers = [
    { name: "another tenant's key", headers: bearer(other.secretKey), own: own.own, theirs, isVisitor: false },
    {
      name: "another tenant's owner",
      headers: { cookie: thieves.cookie, origin: fixture.url },
      own: own.own,
      theirs,
      isVisitor: false,
    },
    { name: "another tenant's visitor", headers: bearer(own.visitorToken), own: own.own, theirs, isVisitor: true },
    {
      name: "another visitor of the same tenant",
      headers: bearer(neighbour),
      own: { ...theirs, agentId: demo.agentId, conversationId: talk.id, runId: run.id },
      theirs,
      isVisitor: true,
    },
  ];
});
afterAll(() => fixture.stop());

const isKind = (name: string): name is Kind => Object.hasOwn(KINDS, name);

/** Names of a body's fields that hold ids, which are all at its first level. */
const idsIn = (operation: Operation) => Object.keys(operation.body?.properties ?? {}).filter(isKind);

interface Asked {
  status: number;
  /** All that the caller can tell answers apart by. */
  seen: unknown;
  text: string;
}

/** One request. A stream is read up to its head. */
async function ask(
  operation: Operation,
  headers: Record<string, string>,
  ids: Belongings,
  { named = {}, query = "" }: { named?: Partial<Belongings>; query?: string } = {},
): Promise<Asked> {
  const body = BODIES[operation.name]?.(ids);
  const path = pathOf(operation, { ...ids, ...named });
  const stop = new AbortController();
  const response = await fetch(`${fixture.url}${path}${query}`, {
    method: operation.method,
    headers: { ...headers, ...(body ? { "content-type": "application/json" } : {}) },
    ...(body ? { body: JSON.stringify({ ...body, ...pick(named, idsIn(operation)) }) } : {}),
    signal: stop.signal,
  });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  const text = isStream ? "a stream" : await response.text();
  if (isStream) stop.abort();
  const isProblem = response.headers.get("content-type") === "application/problem+json";
  const parsed = isProblem ? { ...JSON.parse(text), requestId: null } : text;
  const visible = [...response.headers].filter(([name]) => !/^(date|x-request-id|ratelimit.*)$/.test(name));
  return { status: response.status, text, seen: { status: response.status, headers: visible, body: parsed } };
}

function pick(from: Partial<Record<string, string>>, names: string[]): Partial<Record<string, string>> {
  return Object.fromEntries(names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
}

const reachable = ({ isVisitor }: Attacker) =>
  operations.filter(
    ({ name, permission, isForVisitors }) =>
      PROVED_ELSEWHERE[name] === undefined && permission !== null && (!isVisitor || isForVisitors),
  );

test("the fixture knows every route, parameter and field of the document", () => {
  expect(operations.length).toBeGreaterThan(40);
  for (const [kind, prefix] of Object.entries(KINDS))
    expect(victim.own[kind as Kind]).toMatch(new RegExp(`^${prefix}_`));
  for (const operation of operations) {
    if (PROVED_ELSEWHERE[operation.name] !== undefined) continue;
    for (const name of operation.params)
      expect([operation.name, name, isKind(name)]).toEqual([operation.name, name, true]);
    for (const name of operation.query) {
      const isKnown = PLAIN_QUERY.has(name) || NAMING_QUERY.has(name);
      expect([operation.name, `?${name}`, isKnown]).toEqual([operation.name, `?${name}`, true]);
    }
    if (!operation.body) continue;
    expect([operation.name, BODIES[operation.name] !== undefined]).toEqual([operation.name, true]);
    const first = new Set(Object.keys(operation.body.properties ?? {}));
    for (const field of fieldsOf(operation.body)) {
      const last = field.split(".").at(-1) ?? "";
      if (!/(id|ids|key|keys|token)$/i.test(last) || NO_IDS.has(last)) continue;
      expect([operation.name, field, isKind(last) && first.has(field)]).toEqual([operation.name, field, true]);
    }
  }
  for (const name of [...Object.keys(BODIES), ...Object.keys(PROVED_ELSEWHERE)]) {
    expect(operations.map((each) => each.name)).toContain(name);
  }
});

test("somebody else's id is answered as one that never was, tells nothing, and changes nothing", async () => {
  const before = await everythingOf(fixture, fixture.demo.tenantId);
  expect(before["events"]).not.toBe("0 ");
  let probes = 0;
  for (const attacker of attackers) {
    for (const operation of reachable(attacker)) {
      // A visitor's run has no interrupt for them, and only their own agent: nothing to reach for but runs and talks.
      for (const kind of new Set([...operation.params, ...idsIn(operation)].filter(isKind))) {
        const label = `${attacker.name}: ${operation.name} with ${kind}`;
        const [stolen, unknown] = await Promise.all([
          ask(operation, attacker.headers, attacker.own, { named: { [kind]: attacker.theirs[kind] } }),
          ask(operation, attacker.headers, attacker.own, { named: { [kind]: missing(kind) } }),
        ]);
        expect([label, stolen.status]).toEqual([label, 404]);
        expect([label, stolen.seen]).toEqual([label, unknown.seen]);
        expect([label, leaks(stolen.text, attacker.theirs)]).toEqual([label, false]);
        probes++;
      }
    }
  }
  expect(probes).toBeGreaterThan(90);
  expect(await everythingOf(fixture, fixture.demo.tenantId)).toEqual(before);
});

test("lists show nobody else's, whatever cursor or filter they are given", async () => {
  const mine = { authorization: `Bearer ${fixture.demo.secretKey}` };
  for (const attacker of attackers) {
    for (const operation of reachable(attacker).filter(
      ({ method, params }) => method === "GET" && params.length === 0,
    )) {
      const values = new Set(["", ...Object.values(attacker.theirs)]);
      if (operation.query.includes("cursor")) {
        const page = await call<{ nextCursor: string | null }>(fixture, "GET", `${operation.path}?limit=1`, {
          headers: mine,
        });
        expect([operation.name, typeof page.body.nextCursor]).toEqual([operation.name, "string"]);
        values.add(page.body.nextCursor ?? "");
      }
      for (const name of ["limit", ...operation.query.filter((each) => NAMING_QUERY.has(each))]) {
        for (const value of name === "limit" ? ["100"] : values) {
          if (!operation.query.includes(name)) continue;
          const query = `?${name}=${encodeURIComponent(value)}`;
          const { status, text } = await ask(operation, attacker.headers, attacker.own, { query });
          expect([200, 400]).toContain(status);
          expect([attacker.name, operation.name, query, foreign(text, attacker)]).toEqual([
            attacker.name,
            operation.name,
            query,
            [],
          ]);
        }
      }
    }
  }
});

/** Ids of the victim in an answer, but for those that are the asker's too. */
function foreign(text: string, { own, theirs }: Attacker): string[] {
  const shared = new Set(Object.values(own));
  return Object.values(theirs).filter((id) => !shared.has(id) && text.includes(id));
}

test("a member cannot choose a tenant that is not theirs: it is as unknown as one that never was", async () => {
  const [, owner] = attackers;
  if (!owner) throw new Error("no member");
  for (const operation of operations.filter(({ name, permission }) => permission !== null || name === "GET /v1/me")) {
    const asTenant = (tenantId: string) => ask(operation, { ...owner.headers, "x-tenant-id": tenantId }, owner.theirs);
    const stolen = await asTenant(fixture.demo.tenantId);
    const unknown = await asTenant("tenant_0198c0de00007000800000000000cafe");
    expect([operation.name, stolen.status]).toEqual([operation.name, 404]);
    expect([operation.name, stolen.seen]).toEqual([operation.name, unknown.seen]);
  }
});

test("an idempotency key that somebody else used replays nothing of theirs", async () => {
  const key = { "idempotency-key": "the-same-key" };
  const body = {};
  const mine = await call<Conversation>(fixture, "POST", "/v1/conversations", {
    token: victim.visitorToken,
    body,
    headers: key,
  });
  expect(mine.status).toBe(201);
  for (const { headers, isVisitor, name } of attackers) {
    if (!isVisitor) continue;
    const answer = await call<Conversation>(fixture, "POST", "/v1/conversations", {
      body,
      headers: { ...headers, ...key },
    });
    expect([name, answer.status, answer.headers.get("idempotency-replayed")]).toEqual([name, 201, null]);
    expect(answer.body.id).not.toBe(mine.body.id);
  }
});

test("another site's visitor token makes nobody that visitor", async () => {
  const answer = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
    body: { publishableKey: fixture.other.publishableKey, visitorToken: victim.visitorToken },
    headers: { origin: OTHER_ORIGIN },
  });
  expect(answer.status).toBe(201);
  expect(leaks(JSON.stringify(answer.body), victim.own)).toBe(false);
});

describe("over sockets", () => {
  /** Typed by the contract: an event that is added there must be added here. */
  const CLIENT_EVENTS: Record<keyof ClientToServer, true> = { subscribe: true, unsubscribe: true, typing: true };
  const SERVER_EVENTS: Record<keyof ServerToClient, true> = {
    events: true,
    hint: true,
    "conversation.changed": true,
    closing: true,
  };
  type Client = Socket<ServerToClient, ClientToServer>;
  const clients: Client[] = [];

  async function connect(token: string): Promise<Client> {
    const client: Client = io(fixture.url, {
      path: REALTIME_PATH,
      auth: { token },
      transports: ["websocket"],
      forceNew: true,
    });
    clients.push(client);
    await new Promise<void>((resolve, reject) => client.once("connect", resolve).once("connect_error", reject));
    return client;
  }

  afterAll(() => {
    for (const client of clients) client.disconnect();
  });

  test("the server listens to the contract's events and no others", async () => {
    const source = await readFile(new URL("realtime/serve-socket.ts", import.meta.url), "utf8");
    const heard = [...source.matchAll(/socket\.(?:on|once|onAny)\("(\w+)"/g)].map(([, name = ""]) => name);
    expect(heard.toSorted()).toEqual([...Object.keys(CLIENT_EVENTS), "disconnect"].toSorted());
    expect(source).not.toMatch(/onAny/);
  });

  test("a foreign conversation or run is as unknown as one that never was, and nothing of it arrives", async () => {
    const { conversationId, runId } = victim.own;
    const subscribe = (client: Client, request: object) =>
      new Promise<SubscribeAck>((resolve) => client.emit("subscribe", request, resolve));
    const mine = await connect(victim.visitorToken);
    const heard: string[] = [];
    const received: string[] = [];
    mine.on("hint", (hint) => void heard.push(JSON.stringify(hint)));
    mine.on("events", ({ events }) => void received.push(JSON.stringify(events)));
    expect(await subscribe(mine, { conversationId, after: 0 })).toMatchObject({ ok: true });

    const strangers = await Promise.all(
      attackers.flatMap(({ headers }) => {
        const token = headers["authorization"]?.slice("Bearer ".length);
        return token === undefined ? [] : [connect(token)];
      }),
    );
    const got: unknown[] = [];
    for (const stranger of strangers) {
      for (const event of Object.keys(SERVER_EVENTS) as (keyof ServerToClient)[]) {
        stranger.on(event, (value: unknown) => void got.push([event, value]));
      }
      const unknown = await subscribe(stranger, { conversationId: missing("conversationId") });
      expect(unknown).toMatchObject({ ok: false, error: { code: "not_found" } });
      expect(await subscribe(stranger, { conversationId })).toEqual(unknown);
      expect(await subscribe(stranger, { runId })).toEqual(await subscribe(stranger, { runId: missing("runId") }));
      stranger.emit("unsubscribe", { conversationId });
      stranger.emit("typing", { conversationId, isTyping: true });
    }
    await append(fixture, conversationId, [delta("only for the victim")]);
    await waitFor(() => received.some((each) => each.includes("only for the victim")), {
      describe: "the victim's event",
    });
    // One more round trip for each: whatever was sent to them before has arrived by then.
    for (const stranger of strangers) await subscribe(stranger, { conversationId: missing("conversationId") });
    expect(got).toEqual([]);
    expect(heard).toEqual([]);
  });
});

test("who has the right to them is answered otherwise: the ids are real", async () => {
  const owner = attackers[0];
  if (!owner) throw new Error("nobody");
  const headers = { authorization: `Bearer ${fixture.demo.secretKey}` };
  const named = operations.filter(
    ({ name, permission }) => permission !== null && PROVED_ELSEWHERE[name] === undefined,
  );
  // What ends something comes after what needs it, and a part before the whole.
  const last = ({ method, name }: Operation) =>
    method === "DELETE" ? 100 - name.length : /(cancel|messages|takeover)$/.test(name) ? 1 : 0;
  for (const operation of named.toSorted((a, b) => last(a) - last(b))) {
    const kinds = new Set([...operation.params, ...idsIn(operation)].filter(isKind));
    const unknown = [];
    for (const kind of kinds)
      unknown.push(await ask(operation, headers, victim.own, { named: { [kind]: missing(kind) } }));
    const known = kinds.size === 0 ? null : await ask(operation, headers, victim.own);
    if (known) expect([operation.name, known.status < 500, known.status]).toEqual([operation.name, true, known.status]);
    const same = unknown.filter(({ seen }) => JSON.stringify(seen) === JSON.stringify(known?.seen));
    expect([operation.name, same]).toEqual([operation.name, []]);
  }
});
