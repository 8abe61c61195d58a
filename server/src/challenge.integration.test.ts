import { createHash } from "node:crypto";
import { checkAnswer, issueChallenge } from "@agent-engine/core/visitors/challenge.ts";
import type { Site } from "@agent-engine/protocol/administration.ts";
import type { Problem, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, ORIGIN, startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let site: Site;
let plain: Site;

beforeAll(async () => {
  fixture = await startServerFixture();
  const { agentId, secretKey: token } = fixture.demo;
  const make = async (body: Record<string, unknown>) =>
    (
      await call<Site>(fixture, "POST", "/v1/sites", {
        token,
        body: { agentId, allowedOrigins: [ORIGIN, "https://*.wild.example"], ...body },
      })
    ).body;
  site = await make({ name: "Guarded", challenge: { kind: "proof_of_work", difficulty: 8 } });
  plain = await make({ name: "Open" });
});
afterAll(() => fixture.stop());

type Asked = Problem & VisitorSession & { challenge: string; difficulty: number };

const enter = (body: Record<string, unknown> = {}, origin = ORIGIN, { publishableKey } = site) =>
  call<Asked>(fixture, "POST", "/v1/visitor-sessions", { body: { publishableKey, ...body }, headers: { origin } });

const zeros = (text: string) => {
  const bits = BigInt(`0x${createHash("sha256").update(text).digest("hex")}`)
    .toString(2)
    .padStart(256, "0");
  return bits.indexOf("1");
};

function solve(challenge: string, isWanted = (bits: number) => bits >= 8): { challenge: string; solution: string } {
  for (let n = 0; ; n++) if (isWanted(zeros(`${challenge}.${n}`))) return { challenge, solution: String(n) };
}

const challenged = async (...asked: Parameters<typeof enter>): Promise<string> => {
  const { status, body } = await enter(...asked);
  expect([status, body.code, body.difficulty]).toEqual([403, "challenge_required", 8]);
  return body.challenge;
};

test("a site has no challenge unless it is given one, which can be changed and taken away", async () => {
  expect([site.challenge, plain.challenge]).toEqual([{ kind: "proof_of_work", difficulty: 8 }, null]);
  expect((await enter({}, ORIGIN, plain)).status).toBe(201);
  const { secretKey: token } = fixture.demo;
  const change = (challenge: unknown) =>
    call<Site>(fixture, "PATCH", `/v1/sites/${plain.id}`, { token, body: { challenge } });
  expect((await change({ kind: "proof_of_work" })).body.challenge).toEqual({ kind: "proof_of_work", difficulty: 17 });
  expect((await enter({}, ORIGIN, plain)).status).toBe(403);
  expect((await change(null)).body.challenge).toBeNull();
  expect((await enter({}, ORIGIN, plain)).status).toBe(201);
  for (const wrong of [{ kind: "captcha" }, { kind: "proof_of_work", difficulty: 60 }, "proof_of_work"]) {
    expect((await change(wrong)).status).toBe(400);
  }
});

test("whoever solves it is let in, once for each", async () => {
  const proof = solve(await challenged());
  const answers = await Promise.all(Array.from({ length: 8 }, () => enter({ proof })));
  expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
    201,
    ...Array.from({ length: 7 }, () => 403),
  ]);
  expect((await enter({ proof })).body.code).toBe("challenge_required");
});

test("the same request again, by its key, is answered the same", async () => {
  const proof = solve(await challenged());
  const again = () =>
    call<Asked>(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: site.publishableKey, proof },
      headers: { origin: ORIGIN, "idempotency-key": "once" },
    });
  const first = await again();
  const second = await again();
  expect([first.status, second.status]).toEqual([201, 201]);
  expect(second.body.visitor).toEqual(first.body.visitor);
});

test("who is known already works for nothing; who becomes somebody new does", async () => {
  const { body } = await enter({ proof: solve(await challenged()) });
  const { visitorToken } = body;
  const renewed = await enter({ visitorToken });
  expect([renewed.status, renewed.body.visitor.id]).toEqual([201, body.visitor.id]);
  const challenge = await challenged({ visitorToken, reset: true });
  expect((await enter({ visitorToken, reset: true, proof: solve(challenge) })).status).toBe(201);
  // That session is over: its token makes a new visitor, which is not for nothing.
  await challenged({ visitorToken });
});

describe("is worth nothing", () => {
  const worthless = async (proof: { challenge: string; solution: string }, ...asked: unknown[]) => {
    const [origin = ORIGIN] = asked as string[];
    expect((await enter({ proof }, origin)).body).toMatchObject({ status: 403, code: "challenge_required" });
  };
  const place = () => ({ siteId: site.id, origin: ORIGIN });
  const work = { kind: "proof_of_work", difficulty: 8 } as const;

  test("without the work", async () => {
    await worthless(solve(await challenged(), (bits) => bits < 8));
  });

  test("for another origin, or another site", async () => {
    await worthless(solve(await challenged()), "https://a.wild.example");
    const { secrets } = fixture.services;
    await worthless(solve(issueChallenge(secrets, { ...place(), siteId: plain.id }, work, Date.now())));
  });

  test("too late", async () => {
    const { secrets } = fixture.services;
    await worthless(solve(issueChallenge(secrets, place(), work, Date.now() - 5 * 60_000)));
    const late = solve(issueChallenge(secrets, place(), work, 0));
    expect(checkAnswer(secrets, place(), late, 5 * 60_000 - 1)).toBe(5 * 60_000);
    expect(checkAnswer(secrets, place(), late, 5 * 60_000)).toBeNull();
  });

  test("when we did not make it", async () => {
    const { secrets } = fixture.services;
    await worthless(solve(issueChallenge({ keys: ["x".repeat(32)] }, place(), work, Date.now())));
    const [text = "", mac = ""] = (await challenged()).split(".");
    const payload = JSON.parse(Buffer.from(text, "base64url").toString()) as Record<string, unknown>;
    const easier = Buffer.from(JSON.stringify({ ...payload, difficulty: 0 })).toString("base64url");
    for (const forged of [
      `${easier}.${mac}`,
      `${easier}.`,
      easier,
      `${text}.`,
      text,
      ".",
      `${text}.${mac}=`,
      `${text}.${mac}.`,
    ]) {
      await worthless(solve(forged));
    }
    const good = solve(await challenged());
    expect(checkAnswer(secrets, place(), good, Date.now())).not.toBeNull();
    expect(checkAnswer({ keys: ["another-key", ...secrets.keys] }, place(), good, Date.now())).not.toBeNull();
  });
});
