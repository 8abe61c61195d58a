/** What a page may say of its tools over HTTP. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Problem } from "@agent-engine/protocol/resources.ts";
import { call, converse, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let token: string;
let path: string;

beforeAll(async () => {
  fixture = await startServerFixture();
  token = (await visit(fixture)).visitorToken;
  path = `/v1/conversations/${(await converse(fixture, token)).id}/client-tools`;
});
afterAll(() => fixture.stop());

const put = <T>(tools: unknown, as = token) =>
  call<T>(fixture, "PUT", path, { token: as, body: { pageId: "page", tools } });
const LOOK = { name: "look", description: "Looks." };

test("good ones are offered beside one that is refused, with the reason", async () => {
  const bad = { name: "2 hats", description: "Buys two.", parameters: { type: "object" } };
  const answer = await put([LOOK, bad]);
  expect(answer).toMatchObject({
    status: 200,
    body: {
      expiresAt: expect.any(String),
      problems: [{ tool: "2 hats", problem: expect.stringMatching(/^its name/) }],
    },
  });
  expect(await put([])).toMatchObject({ status: 200, body: { problems: [] } });
});

test.each<[string, unknown]>([
  ["no list", LOOK],
  ["no tool", ["look"]],
  ["a name that is no text", [{ ...LOOK, name: 5 }]],
  ["no description", [{ name: "look" }]],
  ["parameters that are no object", [{ ...LOOK, parameters: "none" }]],
  ["a field that does not exist", [{ ...LOOK, handler: "look()" }]],
  ["more than anybody has", Array.from({ length: 101 }, () => LOOK)],
])("%s is refused as a whole", async (_, tools) => {
  expect(await put<Problem>(tools)).toMatchObject({ status: 400, body: { code: "invalid_request" } });
});

test("staff have no pages", async () => {
  const answer = await put<Problem>([LOOK], fixture.demo.secretKey);
  expect(answer).toMatchObject({ status: 403, body: { code: "forbidden" } });
});
