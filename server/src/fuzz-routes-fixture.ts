/** Sends fuzzed requests to every route and holds each answer to what every answer promises. */
import fc from "fast-check";
import { expect } from "vitest";
import { requestsFor, type FuzzedRequest } from "./fuzz-fixture.ts";
import { furnish } from "./isolation-fixture.ts";
import { operationsOf } from "./operations-fixture.ts";
import { member } from "./people-fixture.ts";
import { ORIGIN, visit, type ServerFixture } from "./server-fixture.ts";

const INSIDES = /node_modules|\.ts:\d|\bat \w+ \(|select .* from |insert into|relation "|ECONN|syntax error at/i;

export interface Fuzzed {
  routes: number;
  /** How many requests were answered with each status. */
  statuses: Record<number, number>;
}

/** Never 5xx, and every 4xx a problem document that says what to do. Failing requests are made as small as they can be. */
export async function fuzzRoutes(
  fixture: ServerFixture,
  { numRuns, seed }: { numRuns: number; seed: number },
): Promise<Fuzzed> {
  const statuses: Record<number, number> = {};
  // The audit log first: each change adds to it, and it would be read as a whole ten thousand times.
  const operations = (await operationsOf(fixture)).toSorted((one, two) => rank(one.name) - rank(two.name));
  const { own } = await furnish(fixture, fixture.demo, ORIGIN, (await member(fixture, "viewer")).memberId);
  const owner = { authorization: `Bearer ${fixture.demo.secretKey}` };
  const session = { cookie: (await member(fixture, "owner")).cookie, origin: fixture.url };
  const { visitorToken } = await visit(fixture);
  for (const operation of operations) {
    const visitor = { authorization: `Bearer ${visitorToken}`, origin: ORIGIN };
    const credentials = operation.isForVisitors
      ? [owner, visitor, session]
      : operation.permission === null
        ? [{ origin: ORIGIN }, session]
        : [owner, owner, session];
    const holds = fc.asyncProperty(requestsFor(operation, { own, credentials }), async (request) => {
      const { status, contentType, text } = await send(fixture, operation.method, request);
      statuses[status] = (statuses[status] ?? 0) + 1;
      expect([operation.name, status, text.slice(0, 300)]).toEqual([
        operation.name,
        expect.toSatisfy(isNoFault),
        expect.anything(),
      ]);
      if (status < 400) return;
      expect([operation.name, contentType]).toEqual([operation.name, "application/problem+json"]);
      const problem = JSON.parse(text) as Record<string, unknown>;
      expect(problem).toMatchObject({
        status,
        code: expect.any(String),
        detail: expect.stringMatching(/\S.{8,}/s),
        requestId: expect.any(String),
      });
      expect([operation.name, INSIDES.test(text)]).toEqual([operation.name, false]);
    });
    await fc.assert(holds, { numRuns, seed });
  }
  return { routes: operations.length, statuses };
}

const rank = (name: string): number => (name.includes("/audit-log") ? 0 : 1);

const isNoFault = (status: number) => status >= 200 && status < 500 && status !== 429;

async function send(fixture: ServerFixture, method: string, { path, headers, body }: FuzzedRequest) {
  const stop = new AbortController();
  const response = await fetch(`${fixture.url}${path}`, {
    method,
    headers,
    ...(body ? { body } : {}),
    signal: stop.signal,
    redirect: "manual",
  });
  const contentType = response.headers.get("content-type") ?? "";
  if (contentType.startsWith("text/event-stream")) {
    stop.abort();
    return { status: response.status, contentType, text: "a stream" };
  }
  return { status: response.status, contentType, text: await response.text() };
}
